"""fxq's engine for ARM boards: torch's QNNPACK kernels, with one weight scale per output channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from torch import fx

from fxq_core import Engine, Lowering, LoweringContext, Match, hookimpl
from fxq_core.native import emitters, native_engine, native_lowerings
from fxq_core.signatures import arguments
from fxq_core.types import Emit

ENGINE = "qnnpack"
# QNNPACK's 3d transposed convolution gives wrong numbers (torch 2.13)
WRONG = ("conv_transpose3d", "conv_transpose3d_clamp")


@hookimpl
def fxq_engines() -> Iterator[Engine]:
    yield native_engine(ENGINE)


@hookimpl
def fxq_lowerings() -> Iterator[Lowering]:
    yield from native_lowerings(ENGINE, instead=INSTEAD, without=WRONG)


def avg_pool(match: Match, ctx: LoweringContext) -> fx.Node:
    """QNNPACK's average pool always divides by the whole window, whatever it is told."""
    found = arguments(match.output, match.modules[0])
    padded = any(found["padding"]) if isinstance(found["padding"], tuple) else found["padding"] != 0
    return ctx.copy() if found["count_include_pad"] or not padded else emitters.in_float(match, ctx)


# "max_pool2d": QNNPACK's is fast for any number of channels
# "adaptive_avg_pool3d": QNNPACK has none, and torch warns of that in the middle of a forward
INSTEAD: Mapping[str, Emit] = MappingProxyType(
    {
        "avg_pool2d": avg_pool,
        "max_pool2d": emitters.same,
        "max_pool3d": emitters.in_float,
        "adaptive_avg_pool3d": emitters.in_float,
    }
)
