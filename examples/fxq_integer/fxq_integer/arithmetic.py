"""The ops without weights, for generated code to call: uint8 codes in, uint8 codes out.

Each argument ``x`` is followed by its ``scale`` and ``zero_point``; those of the result come last, and then, where
a clamp may end the op, the limits of its values. A code ``c`` stands for ``(c - zero_point) * scale``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from fxq_integer.fixed_point import code_range, requantized, scaled

# a sum of two codes keeps this many binary digits after the point while it is made; it stays below 2**28
HEADROOM = 20


def quantize(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """The codes nearest to float32 values: the way into the chip."""
    return (torch.round(x / scale) + zero_point).clamp(0, 255).to(torch.uint8)


def dequantize(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """The float32 values that codes stand for: the way out."""
    return (x.float() - zero_point) * scale


def add(
    x: torch.Tensor, x_scale: float, x_zero: int, y: torch.Tensor, y_scale: float, y_zero: int,
    scale: float, zero_point: int, low: float = -math.inf, high: float = math.inf, sign: int = 1,
) -> torch.Tensor:  # fmt: skip
    """``x + sign * y``, of shapes that broadcast: both are brought to one scale, with 20 digits to spare.

    That is appendix A.2 of the paper, as TensorFlow Lite does it: the common scale is twice the wider of the two,
    so that the sum can't overflow.
    """
    common = 2 * max(x_scale, y_scale)
    first = scaled((x.int() - x_zero) << HEADROOM, x_scale / common)
    second = scaled((y.int() - y_zero) << HEADROOM, y_scale / common)
    factor = common / 2**HEADROOM / scale
    return requantized(first + sign * second, factor, zero_point, *code_range(low, high, scale, zero_point))


def multiply(
    x: torch.Tensor, x_scale: float, x_zero: int, y: torch.Tensor, y_scale: float, y_zero: int,
    scale: float, zero_point: int, low: float = -math.inf, high: float = math.inf,
) -> torch.Tensor:  # fmt: skip
    """``x * y``, of shapes that broadcast: the product of two distances from zero fits 17 bits, so it is exact."""
    product = (x.int() - x_zero) * (y.int() - y_zero)
    factor = x_scale * y_scale / scale
    return requantized(product, factor, zero_point, *code_range(low, high, scale, zero_point))


def rescale(x: torch.Tensor, x_scale: float, x_zero: int, scale: float, zero_point: int) -> torch.Tensor:
    """The same values in other qparams."""
    if (x_scale, x_zero) == (scale, zero_point):
        return x
    return requantized(x.int() - x_zero, x_scale / scale, zero_point)


def concatenate(
    tensors: Sequence[torch.Tensor], qparams: Sequence[tuple[float, int]], dim: int, scale: float, zero_point: int
) -> torch.Tensor:
    """One behind the other, along a dimension; whoever has other qparams is rescaled."""
    alike = [rescale(x, *own, scale, zero_point) for x, own in zip(tensors, qparams, strict=True)]
    return torch.cat(alike, dim)


def clamp(x: torch.Tensor, scale: float, zero_point: int, low: float, high: float) -> torch.Tensor:
    """Values limited to ``low`` and ``high``; the result has the qparams of ``x``."""
    return x.clamp(*code_range(low, high, scale, zero_point))


def look_up(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """``table[x]``, where the table has one code for each of the 256."""
    return table[x.long()]


def distances(x: torch.Tensor, zero_point: int) -> torch.Tensor:
    """The distances of codes from the one of 0, as float64, in which they are exact."""
    return x.double() - zero_point


def nearest(x: torch.Tensor, zero_point: int) -> torch.Tensor:
    """The codes of averages of distances: what dividing their integer sum gives, halves rounded to even.

    float64 is no more than a vehicle here. Sums of fewer than ``2**45`` distances are exact in it. A quotient that ends
    in a half is exact too, also where it is divided by height and width in turn, and any other is at least
    ``1 / (2 * count)`` from the next half, which is far more than the quotient is rounded by.
    """
    return (torch.round(x) + zero_point).clamp(0, 255).to(torch.uint8)
