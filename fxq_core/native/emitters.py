"""How each op is computed by ``torch.ops.quantized``: one small function per op, and none that decides anything."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import fx

from fxq_core.capture.values import value_of
from fxq_core.context import LoweringContext
from fxq_core.native import functions
from fxq_core.native.codes import codes_of, from_codes
from fxq_core.native.kernels import best_kernel
from fxq_core.native.layers import QuantizedConstant, QuantizedConv, QuantizedLinear
from fxq_core.native.lookup import Lookup
from fxq_core.native.norms import QuantizedNorm
from fxq_core.native.transposed import QuantizedConvTranspose
from fxq_core.signatures import arguments, clamp_bounds
from fxq_core.types import Match

OPS = torch.ops.quantized


def quantize(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(torch.quantize_per_tensor, ctx.inputs[0], *ctx.output, torch.quint8)


def dequantize(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call_method("dequantize", ctx.inputs[0])


def constant(match: Match, ctx: LoweringContext) -> fx.Node:
    scale, zero_point = ctx.output
    codes = torch.round(ctx.attribute() / scale) + zero_point
    module = QuantizedConstant(codes.clamp(ctx.output.qmin, ctx.output.qmax).to(torch.uint8))
    return ctx.module(module, scale, zero_point)


def conv(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    weight = ctx.quantize_weight(layer.weight, layer.bias)
    geometry = layer.stride, layer.padding, layer.dilation, layer.groups
    kernel = best_kernel(ctx.engine.name, _outputs(match), layer.weight.shape, layer.groups)
    module = QuantizedConv(weight.values, weight.scale, weight.bias, *geometry, ctx.engine.name, kernel)
    return _clamped(match, ctx, ctx.module(module, ctx.inputs[0], *ctx.output))


def conv_transpose(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    # "per channel quantization is disabled for transposed conv", say the kernels
    weight = ctx.quantize_weight(layer.weight, layer.bias, axis=None)
    geometry = layer.stride, layer.padding, layer.output_padding, layer.dilation, layer.groups
    module = QuantizedConvTranspose(weight.values, weight.scale, weight.bias, *geometry, ctx.engine.name)
    return _clamped(match, ctx, ctx.module(module, ctx.inputs[0], *ctx.output))


def linear(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    weight = ctx.quantize_weight(layer.weight, layer.bias)
    kernel = best_kernel(ctx.engine.name, _outputs(match), layer.weight.shape)
    module = QuantizedLinear(weight.values, weight.scale, weight.bias, ctx.engine.name, kernel)
    return _clamped(match, ctx, ctx.module(module, ctx.inputs[0], *ctx.output))


def _outputs(match: Match) -> int:
    """How many numbers the match makes of the example."""
    return math.prod(value_of(match.output).shape)


def add(match: Match, ctx: LoweringContext) -> fx.Node:
    return _clamped(match, ctx, ctx.call(OPS.add.default, *_whole_first(match, *ctx.inputs), *ctx.output))


def sub(match: Match, ctx: LoweringContext) -> fx.Node:
    minuend, subtrahend = ctx.inputs
    negated = ctx.call(functions.negated, subtrahend)
    return _clamped(match, ctx, ctx.call(OPS.add.default, *_whole_first(match, minuend, negated), *ctx.output))


def _whole_first(match: Match, first: fx.Node, second: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Two addends: the kernel makes the sum as large as the first, and torch warns in each call that it was resized."""
    whole = value_of(match.nodes[0]).shape == value_of(match.inputs[0]).shape
    return (first, second) if whole else (second, first)


def mul(match: Match, ctx: LoweringContext) -> fx.Node:
    product, *shapes = (value_of(node).shape for node in (match.nodes[0], *match.inputs))
    if shapes.count(product) == 1 and all(len(shape) == 4 for shape in shapes):
        image, gate = ctx.inputs if shapes[0] == product else reversed(ctx.inputs)
        return _clamped(match, ctx, ctx.call(functions.gated, image, gate, *ctx.output))
    return _clamped(match, ctx, ctx.call(OPS.mul.default, *ctx.inputs, *ctx.output))


def _clamped(match: Match, ctx: LoweringContext, result: fx.Node) -> fx.Node:
    """Apply the clamp that ends a match, unless the output's own range does."""
    if len(match.nodes) == 1:
        return result
    low, high = clamp_bounds(match.output, match.modules[-1])
    return result if ctx.folds(low, high) else _clamp(ctx, result, low, high)


def clamp(match: Match, ctx: LoweringContext) -> fx.Node:
    return _clamp(ctx, ctx.inputs[0], *clamp_bounds(match.output, match.modules[-1]))


def _clamp(ctx: LoweringContext, x: fx.Node, low: float, high: float) -> fx.Node:
    if (low, high) == (0.0, math.inf):
        return ctx.call(torch.relu, x)
    return ctx.call(functions.clamp, x, low, high)


def cat(match: Match, ctx: LoweringContext) -> fx.Node:
    dim = arguments(match.output, None)["dim"]
    return ctx.call(functions.cat, list(ctx.inputs), dim, *ctx.output)


def stack(match: Match, ctx: LoweringContext) -> fx.Node:
    dim = arguments(match.output, None)["dim"]
    return ctx.call(OPS.cat.default, [ctx.call_method("unsqueeze", x, dim) for x in ctx.inputs], dim, *ctx.output)


def sigmoid(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(OPS.sigmoid.default, *ctx.inputs, *ctx.output)


def hardswish(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(functions.hardswish, *ctx.inputs, *ctx.output)


def silu(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(functions.silu, *ctx.inputs, *ctx.output)


def hardsigmoid(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.call(functions.hardsigmoid, *ctx.inputs, *ctx.output)


def leaky_relu(match: Match, ctx: LoweringContext) -> fx.Node:
    slope = arguments(match.output, match.modules[0])["negative_slope"]
    return ctx.call(OPS.leaky_relu.default, *ctx.inputs, slope, False, *ctx.output)


def batch_norm(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    variance = layer.running_var
    tensors = {
        # the kernel insists on both
        "weight": torch.ones_like(variance) if layer.weight is None else layer.weight,
        "bias": torch.zeros_like(variance) if layer.bias is None else layer.bias,
        "running_mean": layer.running_mean,
        "running_var": variance,
    }
    norm = QuantizedNorm(match.pattern.name.removesuffix("_clamp"), (), tensors, layer.eps)
    return _clamped(match, ctx, ctx.module(norm, *ctx.inputs, *ctx.output))


def layer_norm(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    return _norm(layer, ctx, "layer_norm", list(layer.normalized_shape))


def group_norm(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    return _norm(layer, ctx, "group_norm", layer.num_groups)


def instance_norm(match: Match, ctx: LoweringContext) -> fx.Node:
    return _norm(match.modules[0], ctx, "instance_norm")


def _norm(layer: Any, ctx: LoweringContext, kernel: str, *leading: Any) -> fx.Node:
    tensors = {"weight": layer.weight, "bias": layer.bias}
    return ctx.module(QuantizedNorm(kernel, leading, tensors, layer.eps), *ctx.inputs, *ctx.output)


def pad_copies(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    if layer is None:
        found = arguments(match.output, None)
        return ctx.call(functions.pad_copies, *ctx.inputs, tuple(found["pad"]), found["mode"])
    mode = next(mode for mode in functions.PAD_MODES if type(layer).__name__.lower().startswith(mode[:5]))
    return ctx.call(functions.pad_copies, *ctx.inputs, tuple(layer.padding), mode)


def nearest(match: Match, ctx: LoweringContext) -> fx.Node:
    """The kernel for 2d images takes quantized tensors; those for signals and volumes take bytes."""
    return ctx.copy() if value_of(match.inputs[0]).rank == 4 else on_codes(match, ctx)


def pixel_unshuffle(match: Match, ctx: LoweringContext) -> fx.Node:
    factor = arguments(match.output, match.modules[0])["downscale_factor"]
    return ctx.call(functions.pixel_unshuffle, *ctx.inputs, factor)


def on_codes(match: Match, ctx: LoweringContext) -> fx.Node:
    """For an op that moves or picks values and runs on bytes, but not on quantized tensors."""
    codes = ctx.copy(dict(zip(match.inputs, (ctx.call(codes_of, x) for x in ctx.inputs), strict=True)))
    return ctx.call(from_codes, codes, *ctx.output)


def max_pool2d(match: Match, ctx: LoweringContext) -> fx.Node:
    pool: Any = match.modules[0]
    if pool is None or pool.ceil_mode or pool.return_indices or pool.dilation not in (1, (1, 1)):
        return ctx.copy()
    geometry = (pool.kernel_size, pool.stride, pool.padding)
    return ctx.call(functions.max_pool2d, *ctx.inputs, *(n if isinstance(n, tuple) else (n, n) for n in geometry))


def same(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.copy()


def nothing(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.inputs[0]


def in_float(match: Match, ctx: LoweringContext) -> fx.Node:
    """For an op without a kernel: between two conversions, in one step of the plan."""
    floats = {value: ctx.call_method("dequantize", node) for value, node in zip(match.inputs, ctx.inputs, strict=True)}
    return ctx.call(torch.quantize_per_tensor, ctx.copy(floats), *ctx.output, torch.quint8)


def lookup(match: Match, ctx: LoweringContext) -> fx.Node:
    """For an op on single numbers without a kernel, which takes long in float."""
    node: Any = match.output
    layer = match.modules[0]
    if layer is not None:
        return ctx.module(Lookup(node.name, copy.deepcopy(layer)), *ctx.inputs, *ctx.output)
    args, kwargs = node.args[1:], {name: value for name, value in node.kwargs.items() if value is not match.inputs[0]}
    return ctx.module(Lookup(node.name, node.target, args, kwargs), *ctx.inputs, *ctx.output)
