"""What each pattern becomes on an engine that runs ``torch.ops.quantized``; the emitters stand in ``emitters``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from fxq_core import builtin
from fxq_core.native import emitters as emit
from fxq_core.ranges import FIXED
from fxq_core.types import Emit, Lowering

EMITTERS: Mapping[str, Emit] = MappingProxyType(
    {
        **dict.fromkeys((*builtin.SHARED, "mean"), emit.same),
        **dict.fromkeys((p for name in builtin.CONV for p in (name, f"{name}_clamp")), emit.conv),
        **dict.fromkeys((p for name in builtin.CONV_TRANSPOSE for p in (name, f"{name}_clamp")), emit.conv_transpose),
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


def native_lowerings(
    engine: str, instead: Mapping[str, Emit] = MappingProxyType({}), without: Collection[str] = ()
) -> Iterator[Lowering]:
    """The lowerings of all built-in patterns for one of torch's engines.

    Args:
        engine: the engine's name.
        instead: emitters to use instead of the common ones, by pattern.
        without: patterns that the engine can't compute.
    """
    for pattern, emitter in {**EMITTERS, **instead}.items():
        if pattern not in without:
            yield Lowering(engine=engine, pattern=pattern, emit=emitter, output=FIXED.get(pattern))
