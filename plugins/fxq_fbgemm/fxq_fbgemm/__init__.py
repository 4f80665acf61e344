"""fxq's engines for x86 servers: torch's FBGEMM and oneDNN kernels."""

from __future__ import annotations

from collections.abc import Iterator

from fxq_core import Engine, Lowering, Pattern, hookimpl
from fxq_core.native import native_engine, native_lowerings
from fxq_fbgemm import fused

# "x86" is torch's default on x86; it chooses between the kernels of the other two when a weight is packed
ENGINES = ("fbgemm", "x86", "onednn")


@hookimpl
def fxq_engines() -> Iterator[Engine]:
    for name in ENGINES:
        yield native_engine(name)


@hookimpl
def fxq_patterns() -> Iterator[Pattern]:
    yield from fused.patterns()


@hookimpl
def fxq_lowerings() -> Iterator[Lowering]:
    for name in ENGINES:
        yield from native_lowerings(name)
    yield from fused.lowerings()
