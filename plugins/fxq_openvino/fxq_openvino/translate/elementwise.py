"""Ops that compute each number by itself, and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import openvino as ov
from openvino import opset15 as op

from fxq_openvino.translate.values import UntranslatableError, along, floats, ints, is_value, out, shape_of, value_of


def unary(make: Callable[[ov.Output], Any]) -> Callable[[Any], ov.Output]:
    """A translation to an op without arguments."""

    def translate(input: Any) -> ov.Output:
        return out(make(*floats(input)))

    return translate


def binary(make: Callable[[ov.Output, ov.Output], Any], plain: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A translation to an op of two tensors; ``plain`` is what it does to numbers, such as sizes."""

    def translate(input: Any, other: Any, alpha: float = 1, rounding_mode: None = None) -> Any:
        if not is_value(input) and not is_value(other):
            return plain(input, other)
        if rounding_mode is not None:
            raise UntranslatableError("it rounds its quotient")
        first, second = floats(input, other)
        if alpha != 1:
            second = out(op.multiply(second, value_of(alpha)))
        return out(make(first, second))

    return translate


def relu6(input: Any) -> ov.Output:
    return clamp(input, 0.0, 6.0)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> ov.Output:
    return clamp(input, min_val, max_val)


def clamp(input: Any, min: Any = None, max: Any = None) -> ov.Output:
    low, high = (-math.inf if min is None else min), (math.inf if max is None else max)
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        raise UntranslatableError("its bounds are computed at run time")
    (x,) = floats(input)
    if low == 0 and high == math.inf:
        return out(op.relu(x))
    if math.isfinite(low) and math.isfinite(high):
        return out(op.clamp(x, float(low), float(high)))
    if math.isfinite(low):
        x = out(op.maximum(x, value_of(low)))
    return out(op.minimum(x, value_of(high))) if math.isfinite(high) else x


def clamp_min(input: Any, min: Any) -> ov.Output:
    return clamp(input, min)


def clamp_max(input: Any, max: Any) -> ov.Output:
    return clamp(input, None, max)


def leaky_relu(input: Any, negative_slope: float = 0.01) -> ov.Output:
    return out(op.prelu(*floats(input, negative_slope)))


def prelu(input: Any, weight: Any) -> ov.Output:
    (x,) = floats(input)
    slope = weight if weight.numel() == 1 else weight.reshape([-1, *[1] * (len(x.shape) - 2)])
    return out(op.prelu(x, *floats(slope)))


def elu(input: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> ov.Output:
    if scale != 1 or input_scale != 1:
        raise UntranslatableError("it is scaled")
    return out(op.elu(*floats(input), float(alpha)))


def gelu(input: Any, approximate: str = "none") -> ov.Output:
    return out(op.gelu(*floats(input), "tanh" if approximate == "tanh" else "erf"))


def over(make: Callable[[ov.Output, int], Any]) -> Callable[..., ov.Output]:
    """A translation to an op that normalizes over one dimension."""

    def translate(input: Any, dim: Any = None, dtype: None = None) -> ov.Output:
        if dtype is not None or dim is None:
            raise UntranslatableError("its dimension or its dtype is left to torch")
        (x,) = floats(input)
        return out(make(x, along(dim, len(x.shape))))

    return translate


def power(input: Any, exponent: Any) -> Any:
    return out(op.power(*floats(input, exponent))) if is_value(input) or is_value(exponent) else input**exponent


def reduction(make: Callable[..., Any]) -> Callable[..., ov.Output]:
    """A translation to an op that takes dimensions together."""

    def translate(input: Any, dim: Any = None, keepdim: bool = False, dtype: None = None) -> ov.Output:
        if dtype is not None:
            raise UntranslatableError("it converts to another dtype")
        (x,) = floats(input)
        rank = len(x.shape)
        chosen = range(rank) if dim is None or dim == () else [dim] if isinstance(dim, int) else dim
        return out(make(x, ints([along(axis, rank) for axis in chosen]), keepdim))

    return translate


def layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> ov.Output:
    (x,) = floats(input)
    count = 1 if isinstance(normalized_shape, int) else len(normalized_shape)
    return _affine(_normalized(x, count, eps), weight, bias)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> ov.Output:
    (x,) = floats(input)
    sizes = shape_of(x)
    grouped = op.reshape(x, ints([sizes[0], num_groups, sizes[1] // num_groups, *sizes[2:]]), False)
    normal = op.reshape(_normalized(out(grouped), len(sizes) - 1, eps), ints(sizes), False)
    return _affine(out(normal), *_of_channels(len(sizes), weight, bias))


def instance_norm(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, eps: float = 1e-5, track_running_stats: bool = False,
) -> ov.Output:  # fmt: skip
    (x,) = floats(input)
    rank = len(x.shape)
    if not use_input_stats or track_running_stats or rank < 3:
        raise UntranslatableError("it normalizes with running statistics, or what has no batch dimension")
    return _affine(_normalized(x, rank - 2, eps), *_of_channels(rank, weight, bias))


def _normalized(x: ov.Output, count: int, eps: float) -> ov.Output:
    """With mean 0 and variance 1 over the last ``count`` dimensions."""
    rank = len(x.shape)
    return out(op.mvn(x, ints(list(range(rank - count, rank))), True, float(eps), "inside_sqrt"))


def _of_channels(rank: int, *tensors: Any) -> list[Any]:
    return [None if tensor is None else tensor.reshape([-1, *[1] * (rank - 2)]) for tensor in tensors]


def _affine(x: ov.Output, weight: Any, bias: Any) -> ov.Output:
    if weight is not None:
        x = out(op.multiply(x, *floats(weight)))
    return x if bias is None else out(op.add(x, *floats(bias)))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> ov.Output:
    if beta != 1:
        raise UntranslatableError("its beta is not 1")
    return out(op.softplus(*floats(input)))
