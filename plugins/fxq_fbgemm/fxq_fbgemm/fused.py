"""Layers that end in an activation, for which oneDNN has one kernel that rounds once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch import fx, nn

from fxq_core import Lowering, LoweringContext, Match, Pattern
from fxq_core.capture.values import value_of
from fxq_core.families import CLAMPED, IN_FLOAT, OWN_RANGE
from fxq_core.native.activated import available
from fxq_core.native.layers import QuantizedConv, QuantizedLinear
from fxq_core.reference import FAMILY, emit_layer
from fxq_core.rejections import REJECTIONS

# the engines that may take oneDNN's kernels
ENGINES = ("x86", "onednn")
LAYERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"conv2d": ("silu", "hardswish"), "linear": ("silu", "hardswish", "gelu")}
)

# how many numbers must come out: a call finds its kernel anew, which takes about 40 us, longer than few activations
LEAST: Mapping[str, int] = MappingProxyType({"conv2d": 2**18, "linear": 2**17})


def patterns() -> Iterator[Pattern]:
    """A layer and what it ends in, named ``layer_activation``."""
    activations = {**OWN_RANGE, **IN_FLOAT}
    for layer, names in LAYERS.items():
        for name in names:
            yield Pattern(f"{layer}_{name}", (CLAMPED[layer], activations[name]), reject=REJECTIONS[layer])


def lowerings() -> Iterator[Lowering]:
    """For the engines that have the kernels, in builds of torch that have them, and for what they are compared with."""
    for pattern in patterns():
        yield Lowering(engine=FAMILY, pattern=pattern.name, emit=emit_layer)
        for engine in ENGINES if available() else ():
            yield Lowering(engine=engine, pattern=pattern.name, emit=emit, reject=reject)


def reject(match: Match) -> str | None:
    layer: Any = match.modules[0]
    if isinstance(layer, nn.Conv2d) and layer.weight.shape[1] == 1 and layer.out_channels > layer.groups:
        return "oneDNN is wrong for groups of one input and several outputs"
    outputs, least = math.prod(value_of(match.output).shape), LEAST[match.pattern.name.partition("_")[0]]
    return f"two kernels are faster for {outputs} numbers" if outputs < least else None


def emit(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    weight = ctx.quantize_weight(layer.weight, layer.bias)
    module: nn.Module
    if isinstance(layer, nn.Linear):
        module = QuantizedLinear(weight.values, weight.scale, weight.bias, ctx.engine.name, None, _activation(match))
    else:
        geometry = layer.stride, layer.padding, layer.dilation, layer.groups
        how = ctx.engine.name, None, _activation(match)
        module = QuantizedConv(weight.values, weight.scale, weight.bias, *geometry, *how)
    return ctx.module(module, ctx.inputs[0], *ctx.output)


def _activation(match: Match) -> str:
    """The name in ``fxq_core.native.activated.ACTIVATIONS`` of what ends a match."""
    name, module = match.pattern.name.partition("_")[2], match.modules[-1]
    # an argument by keyword alone, which only GELU has
    approximate = getattr(module, "approximate", match.output.kwargs.get("approximate", "none"))
    return name if approximate == "none" else f"{name}_{approximate}"
