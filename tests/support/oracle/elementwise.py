"""Sums, products and conversions of codes: in float32 as the kernels compute them, or in integers."""

from __future__ import annotations

import math

import torch

from fxq_core.types import QParams

from support.oracle.codes import Codes, float32, zero_point_first, zero_point_last


def numbers32(x: Codes) -> torch.Tensor:
    """What torch's vectors make of codes: ``code * scale - zero_point * scale`` with one rounding, in float32.

    The product has 32 bits and the difference fits the 53 of float64.
    """
    scale = float32(x.qparams.scale)
    return (x.values.double() * scale.double() - (scale * x.qparams.zero_point).double()).float()


def in_steps(numbers: torch.Tensor, output: QParams) -> torch.Tensor:
    """float32 numbers in steps of a scale: torch multiplies by its inverse."""
    return numbers * (1 / float32(output.scale))


def added(a: Codes, b: Codes, output: QParams) -> torch.Tensor:
    """torch's own kernel: a sum in float32."""
    return zero_point_last(in_steps(numbers32(a) + numbers32(b), output), output)


def added_by_qnnpack(a: Codes, b: Codes, output: QParams) -> torch.Tensor:
    """In fixed point, with 21 bits for the larger factor; a half is rounded away from zero."""
    factors = [(float32(x.qparams.scale) / float32(output.scale)).item() for x in (a, b)]
    shift = 22 - math.frexp(max(factors))[1]
    total = sum(x.steps() * round(factor * 2.0**shift) for x, factor in zip((a, b), factors, strict=True))
    assert isinstance(total, torch.Tensor)
    rounded = ((total.abs() + 2 ** (shift - 1)) >> shift) * total.sign()
    return (rounded + output.zero_point).clamp(output.qmin, output.qmax)


def multiplied(a: Codes, b: Codes, output: QParams) -> torch.Tensor:
    """The product of integers, which has 17 bits, by one factor in float32."""
    factor = float32(a.qparams.scale) * float32(b.qparams.scale) * (1 / float32(output.scale))
    return zero_point_last((a.steps() * b.steps()).float() * factor, output)


def negative(x: Codes) -> Codes:
    """Code ``255 - c`` with zero point ``255 - z`` stands for the negative of code ``c``."""
    low, high = x.qparams.qmin, x.qparams.qmax
    zero_point = low + high - x.qparams.zero_point
    return Codes(low + high - x.values, QParams(x.qparams.scale, zero_point, low, high))


def converted(x: Codes, output: QParams) -> torch.Tensor:
    """The codes nearest to the same numbers in other qparams."""
    return zero_point_first(in_steps(x.steps() * float32(x.qparams.scale), output), output)


def leaky(x: Codes, slope: float, output: QParams) -> torch.Tensor:
    numbers = numbers32(x)
    return zero_point_last(in_steps(torch.where(numbers > 0, numbers, numbers * float32(slope)), output), output)
