"""fxq's engine for ARM boards: torch's QNNPACK kernels, with one weight scale per output channel."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from torch import fx

from fxq_core import Engine, Lowering, LoweringContext, Match, hookimpl
from fxq_core.capture.values import value_of
from fxq_core.native import emitters, native_engine, native_lowerings
from fxq_core.native.lowerings import EMITTERS
from fxq_core.signatures import arguments
from fxq_core.types import Emit

ENGINE = "qnnpack"
ENDS = (2.0**-120, 2.0**120)
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
    if value_of(match.inputs[0]).rank != 4:
        return emitters.in_float(match, ctx)
    padded = any(found["padding"]) if isinstance(found["padding"], tuple) else found["padding"] != 0
    return ctx.copy() if found["count_include_pad"] or not padded else emitters.in_float(match, ctx)


def within(match: Match, ctx: LoweringContext, emit: Emit, smallest: float, largest: float) -> fx.Node:
    """QNNPACK refuses when it runs if the scale of an input is too far from that of the result; float does not."""
    ratios = [qparams.scale / ctx.output.scale for qparams in ctx.input_qparams]
    fits = all(smallest <= ratio < largest for ratio in ratios)
    return emit(match, ctx) if fits else emitters.in_float(match, ctx)


LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **dict.fromkeys(("add", "sub"), (2.0**-14, 2.0**8)),
        # it adds channels whose weights have scale 1, which must leave a normal factor
        **dict.fromkeys(("linear", *(f"conv{kind}{dims}d" for kind in ("", "_transpose") for dims in (1, 2, 3))), ENDS),
    }
)
# "max_pool2d": QNNPACK's is fast for any number of channels
# "adaptive_avg_pool3d": QNNPACK has none, and torch warns of that in the middle of a forward
INSTEAD: Mapping[str, Emit] = MappingProxyType(
    {
        **{
            name: functools.partial(within, emit=EMITTERS[name], smallest=limits[0], largest=limits[1])
            for pattern, limits in LIMITS.items()
            for name in (pattern, f"{pattern}_clamp")
        },
        "avg_pool2d": avg_pool,
        "max_pool2d": emitters.same,
        "max_pool3d": emitters.in_float,
        "adaptive_avg_pool3d": emitters.in_float,
    }
)
