"""What each pattern becomes. A pattern that is not here stays float, and the plan says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from fxq_core import Lowering, Match, QParams
from fxq_core.types import Emit
from fxq_integer import emitters as emit
from fxq_integer.engine import NAME

# the most products of a uint8 and an int8 whose sum, with a bias of up to 2**30, is sure to fit 32 bits
MOST_PRODUCTS = (2**31 - 2**30) // (255 * 127)

# patterns that a clamp-like op may end
CLAMPED: Mapping[str, Emit] = MappingProxyType(
    {
        **dict.fromkeys(("conv1d", "conv2d", "conv3d"), emit.conv),
        "linear": emit.linear,
        "add": emit.add,
        "sub": emit.sub,
        "mul": emit.mul,
    }
)
AVERAGES = (
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "mean",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
)  # fmt: skip
MOVES = (
    "max_pool2d", "max_pool3d", "amax", "amin", "chunk", "getitem", "narrow", "flatten", "unflatten", "reshape",
    "contiguous", "permute", "transpose", "squeeze", "unsqueeze", "expand", "repeat", "roll", "flip", "pad_copies",
    "interpolate_nearest", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
)  # fmt: skip
TABLES = ("sigmoid", "tanh", "hardsigmoid", "hardswish", "leaky_relu", "silu", "gelu", "elu", "mish")
EMITTERS: Mapping[str, Emit] = MappingProxyType(
    {
        **CLAMPED,
        **{f"{name}_clamp": emitter for name, emitter in CLAMPED.items()},
        **dict.fromkeys((*AVERAGES, "pad"), emit.on_distances),
        **dict.fromkeys(MOVES, emit.same),
        **dict.fromkeys(TABLES, emit.table),
        "quantize": emit.quantize,
        "dequantize": emit.dequantize,
        "constant": emit.constant,
        "clamp": emit.clamp,
        "cat": emit.cat,
        "stack": emit.stack,
        "max_pool1d": emit.as_floats,
        "identity": emit.nothing,
    }
)
# ops whose range is a matter of mathematics, not of data
UNIT = QParams(1 / 256, 0, 0, 255)
FIXED = MappingProxyType({"sigmoid": UNIT, "hardsigmoid": UNIT, "tanh": QParams(2 / 256, 128, 0, 255)})


def reject(match: Match) -> str | None:
    """For layers with weights."""
    layer: Any = match.modules[0]
    products = layer.weight[0].numel()
    if products <= MOST_PRODUCTS:
        return None
    return f"each of its sums has {products} products, and 32 bits are sure to hold {MOST_PRODUCTS}"


def lowerings() -> Iterator[Lowering]:
    for pattern, emitter in EMITTERS.items():
        weighted = emitter in (emit.conv, emit.linear)
        yield Lowering(
            engine=NAME, pattern=pattern, emit=emitter, reject=reject if weighted else None, output=FIXED.get(pattern)
        )
