"""fxq's engine for ARM boards: torch's QNNPACK kernels, with one weight scale per output channel."""

from __future__ import annotations

from collections.abc import Iterator

from fxq_core import Engine, Lowering, hookimpl
from fxq_core.native import native_engine, native_lowerings

ENGINE = "qnnpack"


@hookimpl
def fxq_engines() -> Iterator[Engine]:
    yield native_engine(ENGINE)


@hookimpl
def fxq_lowerings() -> Iterator[Lowering]:
    yield from native_lowerings(ENGINE)
