"""What each pattern becomes on an engine that runs ``torch.ops.quantized``; the emitters stand in ``emitters``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fxq_core import builtin
from fxq_core.native import emitters as emit
from fxq_core.ranges import FIXED
from fxq_core.types import Emit, Lowering

EMITTERS: Mapping[str, Emit] = MappingProxyType(
    {
        **dict.fromkeys((*builtin.SHARED, "mean"), emit.same),
        **dict.fromkeys(("conv1d", "conv1d_clamp", "conv2d", "conv2d_clamp", "conv3d", "conv3d_clamp"), emit.conv),
        **dict.fromkeys(("linear", "linear_clamp"), emit.linear),
        **dict.fromkeys(("add", "add_clamp"), emit.add),
        **dict.fromkeys(("mul", "mul_clamp"), emit.mul),
        "quantize": emit.quantize,
        "dequantize": emit.dequantize,
        "constant": emit.constant,
        "clamp": emit.clamp,
        "cat": emit.cat,
        "identity": emit.nothing,
        "sigmoid": emit.sigmoid,
        "tanh": emit.same,
        "hardsigmoid": emit.hardsigmoid,
        "hardswish": emit.hardswish,
        "leaky_relu": emit.leaky_relu,
        "elu": emit.elu,
        "silu": emit.in_float,
    }
)


def native_lowerings(engine: str, instead: Mapping[str, Emit] = MappingProxyType({})) -> Iterator[Lowering]:
    """The lowerings of all built-in patterns for one of torch's engines.

    Args:
        engine: the engine's name.
        instead: emitters to use instead of the common ones, by pattern.
    """
    for pattern, emitter in {**EMITTERS, **instead}.items():
        yield Lowering(engine=engine, pattern=pattern, emit=emitter, output=FIXED.get(pattern))
