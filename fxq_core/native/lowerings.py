"""What each pattern becomes on an engine that runs ``torch.ops.quantized``; the emitters stand in ``emitters``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from fxq_core import weight_only
from fxq_core.families import FIXED, IN_FLOAT, SHARED
from fxq_core.native import emitters as emit
from fxq_core.types import Emit, Lowering

# for patterns that a clamp-like op may end
CLAMPED: Mapping[str, Emit] = MappingProxyType(
    {
        **{f"conv{dims}d": emit.conv for dims in (1, 2, 3)},
        **{f"conv_transpose{dims}d": emit.conv_transpose for dims in (1, 2, 3)},
        **{f"batch_norm{dims}d": emit.batch_norm for dims in (1, 2, 3)},
        "linear": emit.linear,
        "add": emit.add,
        "sub": emit.sub,
        "mul": emit.mul,
    }
)
EMITTERS: Mapping[str, Emit] = MappingProxyType(
    {
        **dict.fromkeys(SHARED, emit.same),
        **CLAMPED,
        **{f"{name}_clamp": emitter for name, emitter in CLAMPED.items()},
        **dict.fromkeys(IN_FLOAT, emit.in_float),
        "silu": emit.silu,
        **dict.fromkeys(("gelu", "elu", "mish"), emit.lookup),
        **dict.fromkeys(("amax", "amin", "roll"), emit.on_codes),
        "quantize": emit.quantize,
        "dequantize": emit.dequantize,
        "constant": emit.constant,
        "clamp": emit.clamp,
        "max_pool2d": emit.max_pool2d,
        "cat": emit.cat,
        "stack": emit.stack,
        "identity": emit.nothing,
        "pad_copies": emit.pad_copies,
        "interpolate_nearest": emit.nearest,
        "pixel_unshuffle": emit.pixel_unshuffle,
        "sigmoid": emit.sigmoid,
        "tanh": emit.same,
        "hardsigmoid": emit.hardsigmoid,
        "hardswish": emit.hardswish,
        "leaky_relu": emit.leaky_relu,
        "layer_norm": emit.layer_norm,
        "group_norm": emit.group_norm,
        "instance_norm": emit.instance_norm,
        "embedding": weight_only.emit_embedding,
        "embedding_bag": weight_only.emit_embedding_bag,
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
            fixed, in_float = FIXED.get(pattern), pattern in IN_FLOAT or emitter is emit.in_float
            yield Lowering(engine=engine, pattern=pattern, emit=emitter, output=fixed, in_float=in_float)
