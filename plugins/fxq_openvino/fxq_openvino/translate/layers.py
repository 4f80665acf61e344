"""Layers with int8 weights, and the rounding of activations to codes."""

from __future__ import annotations

import math
from typing import Any

import openvino as ov
import torch
import torch.nn.functional as F
from openvino import opset15 as op

from fxq_core.dtypes import check_layer
from fxq_core.reference import ReferenceLayer
from fxq_openvino.translate.values import UntranslatableError, each, floats, out, shape_of, value_of

# what the products of int8 layers are called in a compiled model
LINEAR = "fxq_linear"
CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def fake_quantize(input: Any, scale: float, zero_point: int, qmin: int, qmax: int) -> ov.Output:
    (x,) = floats(input)
    bounds = _bounds(x)
    # a clamp at the outermost codes, or beyond them, changes no code
    while bounds and round(bounds[0] / scale) + zero_point <= qmin and _code(bounds[1], scale, zero_point) >= qmax:
        x = x.node.input_value(0)
        bounds = _bounds(x)
    low, high = (value_of((code - zero_point) * scale) for code in (qmin, qmax))
    return out(op.fake_quantize(x, low, high, low, high, qmax - qmin + 1))


def _bounds(x: ov.Output) -> tuple[float, float] | None:
    """The limits of the clamp that a value comes out of."""
    kind = x.node.get_type_name()
    if kind == "Relu":
        return 0.0, math.inf
    if kind == "Clamp":
        found = x.node.get_attributes()
        return found["min"], found["max"]
    return None


def _code(value: float, scale: float, zero_point: int) -> float:
    return math.inf if value == math.inf else round(value / scale) + zero_point


def layer(input: Any, module: ReferenceLayer) -> ov.Output:
    """A convolution or linear layer.

    Raises:
        InputError: the dtypes of its tensors were changed.
    """
    check_layer(module, module.weight, module.weight_scale, module.bias)
    (x,) = floats(input)
    if module.function is F.linear:
        product = op.matmul(x, _weight(module, 1), False, True)
        product.set_friendly_name(LINEAR)
        return _biased(out(product), module.bias, -1)
    if module.function in CONVOLUTIONS:
        return _convolution(x, module)
    if module.function in TRANSPOSED:
        return _transposed(x, module)
    raise UntranslatableError(f"its layer computes {module.function.__name__}")


def _weight(module: ReferenceLayer, groups: int) -> ov.Output:
    """Codes times scales, in the form that OpenVINO takes for int8; groups come first where there are several."""
    codes, scale, axis = module.weight, module.weight_scale, module.axis
    sizes = [1] * codes.dim()
    if axis is not None:
        sizes[axis] = -1
    scale = scale.reshape(sizes)
    if groups > 1:
        codes = codes.reshape(groups, -1, *codes.shape[1:])
        scale = scale.reshape(groups, -1, *scale.shape[1:]) if axis == 0 else scale.unsqueeze(0)
    return out(op.multiply(op.convert(value_of(codes), ov.Type.f32), value_of(scale)))


def _biased(value: ov.Output, bias: torch.Tensor | None, axis: int) -> ov.Output:
    if bias is None:
        return value
    sizes = [1] * len(value.shape)
    sizes[axis] = -1
    return out(op.add(value, value_of(bias.reshape(sizes))))


def _padding(padding: Any, kernel: list[int], dilation: list[int]) -> tuple[list[int], list[int]]:
    """How much on the side of the low and of the high indices."""
    if padding == "same":
        total = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        return [pad // 2 for pad in total], [pad - pad // 2 for pad in total]
    sides = each(0 if padding == "valid" else padding, len(kernel))
    return sides, sides


def _convolution(x: ov.Output, module: ReferenceLayer) -> ov.Output:
    arguments = module.arguments
    weight = _weight(module, arguments["groups"])
    return _biased(_convolved(x, weight, list(module.weight.shape[2:]), **arguments), module.bias, 1)


def _convolved(
    x: ov.Output, weight: ov.Output, kernel: list[int], stride: Any, padding: Any, dilation: Any, groups: int
) -> ov.Output:
    dims = len(kernel)
    if len(x.shape) != dims + 2:
        raise UntranslatableError("its input has no batch dimension")
    dilation = each(dilation, dims)
    convolve = op.group_convolution if groups > 1 else op.convolution
    return out(convolve(x, weight, each(stride, dims), *_padding(padding, kernel, dilation), dilation))


def convolution(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    padding_mode: str = "zeros",
) -> ov.Output:  # fmt: skip
    """A convolution in float, such as one that a config skips."""
    if padding_mode != "zeros" or not isinstance(weight, torch.Tensor):
        raise UntranslatableError("its weight is computed at run time, or it pads with copies")
    (x,) = floats(input)
    kernel = list(weight.shape[2:])
    if groups > 1:
        weight = weight.reshape(groups, -1, *weight.shape[1:])
    filters = value_of(weight)
    return _biased(_convolved(x, filters, kernel, stride, padding, dilation, groups), bias, 1)


def _transposed(x: ov.Output, module: ReferenceLayer) -> ov.Output:
    arguments, dims = module.arguments, module.weight.dim() - 2
    if len(x.shape) != dims + 2:
        raise UntranslatableError("its input has no batch dimension")
    groups = arguments["groups"]
    convolve = op.group_convolution_backprop_data if groups > 1 else op.convolution_backprop_data
    pads = each(arguments["padding"], dims)
    result = convolve(
        x,
        _weight(module, groups),
        each(arguments["stride"], dims),
        None,
        pads,
        pads,
        each(arguments["dilation"], dims),
        "explicit",
        each(arguments["output_padding"], dims),
    )
    return _biased(out(result), module.bias, 1)


def matmul(input: Any, other: Any) -> ov.Output:
    return out(op.matmul(*floats(input, other), False, False))


def linear(input: Any, weight: Any, bias: Any = None) -> ov.Output:
    """A linear layer in float."""
    product = out(op.matmul(*floats(input, weight), False, True))
    return product if bias is None else out(op.add(product, *floats(bias)))


def attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> ov.Output:  # fmt: skip
    """``F.scaled_dot_product_attention`` as the products that it stands for."""
    if dropout_p or is_causal or enable_gqa:
        raise UntranslatableError("it has an argument that OpenVINO lacks")
    query, key, value = floats(query, key, value)
    factor = 1 / math.sqrt(shape_of(query)[-1]) if scale is None else scale
    scores = op.matmul(op.multiply(query, value_of(factor)), key, False, True)
    if attn_mask is not None:
        scores = op.add(scores, *floats(attn_mask))
    return out(op.matmul(op.softmax(scores, len(query.shape) - 1), value, False, False))


def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    training: bool = False,
) -> ov.Output:  # fmt: skip
    """A batch norm with the statistics that it was trained with."""
    if training or running_mean is None:
        raise UntranslatableError("its statistics are computed from each batch")
    (x,) = floats(input)
    factor = torch.rsqrt(running_var.double() + eps) * (1 if weight is None else weight.double())
    offset = -running_mean.double() * factor + (0 if bias is None else bias.double())
    sizes = [1, -1, *[1] * (len(x.shape) - 2)]
    scaled = op.multiply(x, value_of(factor.float().reshape(sizes)))
    return out(op.add(scaled, value_of(offset.float().reshape(sizes))))
