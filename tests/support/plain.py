"""A made-up engine whose quantized form is a plain uint8 tensor of codes, as a plugin with nothing but the core."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

UNIT = fxq.QParams(1 / 256, 0, 0, 255)


def usable() -> None:
    return None


PLAIN = fxq.Engine(
    name="plain",
    family="codes",
    activation=fxq.QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="minmax"),
    weight=fxq.QSpec(torch.int8, -127, 127, symmetric=True, axis=0, observer="minmax"),
    active=contextlib.nullcontext,
    reject=usable,
)


def quantize(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return (torch.round(x / scale) + zero_point).clamp(0, 255).to(torch.uint8)


def dequantize(codes: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return (codes.float() - zero_point) * scale


class IntegerLayer(nn.Module):
    """Integer sums over integer codes, as exact as they are in int32."""

    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor

    def __init__(self, layer: Any, weight: Any) -> None:
        super().__init__()
        self.register_buffer("weight", weight.values)
        self.register_buffer("weight_scale", weight.scale)
        self.register_buffer("bias", torch.zeros(len(weight.values)) if weight.bias is None else weight.bias)
        names = ("stride", "padding", "dilation", "groups") if isinstance(layer, nn.Conv2d) else ()
        self.function = F.conv2d if names else F.linear
        self.geometry = {name: getattr(layer, name) for name in names}

    def forward(self, codes: torch.Tensor, of: float, at: int, scale: float, zero_point: int) -> torch.Tensor:
        sums = self.function(codes.double() - at, self.weight.double(), **self.geometry)
        along = [-1, 1, 1] if self.geometry else [-1]
        numbers = sums * (of * self.weight_scale.double()).reshape(along) + self.bias.double().reshape(along)
        return quantize(numbers, scale, zero_point)


def emit_layer(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    layer: Any = match.modules[0]
    module = IntegerLayer(layer, ctx.quantize_weight(layer.weight, layer.bias))
    return ctx.module(module, ctx.inputs[0], *ctx.input_qparams[0], *ctx.output)


def emit_quantize(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    return ctx.call(quantize, ctx.inputs[0], *ctx.output)


def emit_dequantize(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    return ctx.call(dequantize, ctx.inputs[0], *ctx.input_qparams[0])


def emit_constant(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    return ctx.constant(quantize(ctx.attribute(), *ctx.output))


def concatenated(parts: Any, dim: int, qparams: Any, *out: Any) -> torch.Tensor:
    # an operand whose range an op prescribes does not share the others'
    return torch.cat(
        [p if q == out else quantize(dequantize(p, *q), *out) for p, q in zip(parts, qparams, strict=True)], dim
    )


def emit_cat(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    (_, *rest), kwargs = ctx.match.output.args, ctx.match.output.kwargs
    dim = rest[0] if rest else kwargs.get("dim", 0)
    return ctx.call(concatenated, list(ctx.inputs), dim, [tuple(q) for q in ctx.input_qparams], *ctx.output)


def emit_same(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    return ctx.copy()


def add(one: torch.Tensor, of: float, at: int, other: torch.Tensor, by: float, to: int, *out: Any) -> torch.Tensor:
    return quantize(dequantize(one, of, at) + dequantize(other, by, to), *out)


def emit_add(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    (one, other), (ours, theirs) = ctx.inputs, ctx.input_qparams
    return ctx.call(add, one, *ours, other, *theirs, *ctx.output)


def sigmoid(codes: torch.Tensor, of: float, at: int, *out: Any) -> torch.Tensor:
    return quantize(dequantize(codes, of, at).sigmoid(), *out)


def emit_sigmoid(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    return ctx.call(sigmoid, ctx.inputs[0], *ctx.input_qparams[0], *ctx.output)


def lowering(pattern: str, emit: Any, **more: Any) -> fxq.Lowering:
    return fxq.Lowering(engine="plain", pattern=pattern, emit=emit, **more)


class PlainPlugin:
    """The engine, with what it lowers; ``instead`` replaces lowerings, by pattern."""

    def __init__(self, engine: fxq.Engine = PLAIN, **instead: Any) -> None:
        self.engine, self.instead = engine, instead

    @fxq.hookimpl
    def fxq_engines(self) -> Iterator[fxq.Engine]:
        yield self.engine

    @fxq.hookimpl
    def fxq_lowerings(self) -> Iterator[fxq.Lowering]:
        emitters = {
            "quantize": emit_quantize,
            "dequantize": emit_dequantize,
            "constant": emit_constant,
            "linear": emit_layer,
            "conv2d": emit_layer,
            "add": emit_add,
            "cat": emit_cat,
            "flatten": emit_same,
            "transpose": emit_same,
            **self.instead,
        }
        for pattern, emit in emitters.items():
            yield lowering(pattern, emit)
        yield lowering("sigmoid", emit_sigmoid, output=UNIT)
