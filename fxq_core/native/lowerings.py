"""What each pattern becomes on an engine that runs ``torch.ops.quantized``; the emitters stand in ``emitters``."""

from __future__ import annotations

from collections.abc import Iterator

from fxq_core import builtin
from fxq_core.native import emitters as emit
from fxq_core.native.rejections import reject_dimensions
from fxq_core.types import Emit, Lowering, QParams

# what torch's kernels give, whatever the data
SIGMOID_RANGE = QParams(1 / 256, 0, 0, 255)
TANH_RANGE = QParams(2 / 256, 128, 0, 255)

OWN_RANGE: dict[str, Emit] = {
    "add": emit.add,
    "add_clamp": emit.add,
    "mul": emit.mul,
    "mul_clamp": emit.mul,
    "hardswish": emit.hardswish,
    "leaky_relu": emit.leaky_relu,
    "elu": emit.elu,
    "silu": emit.in_float,
}
FIXED_RANGE: dict[str, tuple[Emit, QParams]] = {
    "sigmoid": (emit.sigmoid, SIGMOID_RANGE),
    "hardsigmoid": (emit.same, SIGMOID_RANGE),
    "tanh": (emit.same, TANH_RANGE),
}
# shared qparams, but not simply the float op on a quantized tensor
SPECIAL: dict[str, Emit] = {"cat": emit.cat, "identity": emit.nothing}


def native_lowerings(engine: str) -> Iterator[Lowering]:
    """The lowerings of all built-in patterns for one of torch's engines."""
    for name, emitter in (("quantize", emit.quantize), ("dequantize", emit.dequantize), ("constant", emit.constant)):
        yield Lowering(engine=engine, pattern=name, emit=emitter)
    for name in builtin.CONV:
        for pattern in (name, f"{name}_clamp"):
            yield Lowering(engine=engine, pattern=pattern, emit=emit.conv)
    for pattern in ("linear", "linear_clamp"):
        yield Lowering(engine=engine, pattern=pattern, emit=emit.linear)
    for name, emitter in OWN_RANGE.items():
        yield Lowering(engine=engine, pattern=name, emit=emitter)
    for name, (emitter, output) in FIXED_RANGE.items():
        yield Lowering(engine=engine, pattern=name, emit=emitter, output=output)
    for name in (*builtin.SHARED, "clamp", "mean", "identity"):
        yield Lowering(engine=engine, pattern=name, emit=SPECIAL.get(name, emit.same), reject=reject_dimensions)
