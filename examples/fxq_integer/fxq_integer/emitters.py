"""From a match to nodes: one small function per kind of op, and none that decides anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx

from fxq_core import LoweringContext, Match
from fxq_core.signatures import arguments, clamp_bounds
from fxq_integer import arithmetic
from fxq_integer.layers import IntegerConv, IntegerLinear


def quantize(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(arithmetic.quantize, ctx.inputs[0], *ctx.output)


def dequantize(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(arithmetic.dequantize, ctx.inputs[0], *ctx.input_qparams[0])


def constant(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.constant(arithmetic.quantize(ctx.attribute(), *ctx.output))


def conv(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    weight = ctx.quantize_weight(layer.weight, layer.bias)
    geometry = layer.stride, layer.padding, layer.dilation, layer.groups
    module = IntegerConv(weight.values, weight.scale, weight.bias, *geometry)
    return ctx.module(module, ctx.inputs[0], *ctx.input_qparams[0], *ctx.output, *_limits(match))


def linear(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    weight = ctx.quantize_weight(layer.weight, layer.bias)
    module = IntegerLinear(weight.values, weight.scale, weight.bias)
    return ctx.module(module, ctx.inputs[0], *ctx.input_qparams[0], *ctx.output, *_limits(match))


def add(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(arithmetic.add, *_operands(ctx), *ctx.output, *_limits(match))


def sub(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(arithmetic.add, *_operands(ctx), *ctx.output, *_limits(match), sign=-1)


def mul(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(arithmetic.multiply, *_operands(ctx), *ctx.output, *_limits(match))


def clamp(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(arithmetic.clamp, ctx.inputs[0], *ctx.output, *clamp_bounds(match.output, match.modules[0]))


def cat(match: Match, ctx: LoweringContext) -> fx.Node:
    dim = arguments(match.output, None)["dim"]
    return _concatenated(ctx, ctx.inputs, dim)


def stack(match: Match, ctx: LoweringContext) -> fx.Node:
    dim = arguments(match.output, None)["dim"]
    return _concatenated(ctx, tuple(ctx.call_method("unsqueeze", x, dim) for x in ctx.inputs), dim)


def _concatenated(ctx: LoweringContext, tensors: tuple[fx.Node, ...], dim: int) -> fx.Node:
    return ctx.call(arithmetic.concatenate, tensors, tuple(map(tuple, ctx.input_qparams)), dim, *ctx.output)


def on_distances(match: Match, ctx: LoweringContext) -> fx.Node:
    """For an op that averages, or that pads with 0: the op itself, over exact distances from zero."""
    distances = ctx.call(arithmetic.distances, ctx.inputs[0], ctx.output.zero_point)
    return ctx.call(arithmetic.nearest, ctx.copy({match.inputs[0]: distances}), ctx.output.zero_point)


def as_floats(match: Match, ctx: LoweringContext) -> fx.Node:
    """For an op that picks codes and that torch does not have for bytes: float32 holds every code exactly."""
    floats = ctx.call_method("float", ctx.inputs[0])
    return ctx.call_method("byte", ctx.copy({match.inputs[0]: floats}))


def same(match: Match, ctx: LoweringContext) -> fx.Node:
    """For an op that moves or picks codes, whatever they stand for."""
    return ctx.copy()


def nothing(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.inputs[0]


def table(match: Match, ctx: LoweringContext) -> fx.Node:
    """For any function of one number: it is worked out for all 256 codes, here and now, and then only looked up."""
    codes = torch.arange(256, dtype=torch.uint8)
    values = arithmetic.dequantize(codes, *ctx.input_qparams[0])
    with torch.no_grad():
        results = _evaluate(match, values)
    return ctx.call(arithmetic.look_up, ctx.inputs[0], ctx.constant(arithmetic.quantize(results, *ctx.output)))


def _evaluate(match: Match, values: torch.Tensor) -> Any:
    (node,), (module,), (value,) = match.nodes, match.modules, match.inputs
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), {value: values}.__getitem__)
    if module is not None:
        return module(*args, **kwargs)
    function: Any = getattr(torch.Tensor, node.target) if isinstance(node.target, str) else node.target
    return function(*args, **kwargs)


def _operands(ctx: LoweringContext) -> Iterator[Any]:
    for x, qparams in zip(ctx.inputs, ctx.input_qparams, strict=True):
        yield from (x, *qparams)


def _limits(match: Match) -> tuple[float, float]:
    """The limits of the clamp that ends a match, or none."""
    if len(match.nodes) == 1:
        return -math.inf, math.inf
    return clamp_bounds(match.output, match.modules[-1])
