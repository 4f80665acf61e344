"""Multiply integers by a real number without floating point: by an int32 multiplier and a shift.

This is section 2.2 of Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", which the other modules call the paper, with one rounding instead of two, as in
CMSIS-NN's ``arm_nn_requantize`` with ``CMSIS_NN_USE_SINGLE_ROUNDING``.
"""

from __future__ import annotations

import torch

INT32 = torch.iinfo(torch.int32)
# a factor beyond this takes any sum but 0 past all codes, so that a larger one could change nothing
LARGEST = 2.0**29


def fixed_point(factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The multiplier and the shift for a factor: ``factor`` is about ``multiplier / 2**shift``.

    The multiplier has 31 significant bits, so the relative error is at most ``2**-31``. A factor below ``2**-32``,
    which takes every int32 to 0, becomes multiplier 0. A compiler does this once, when scales are known.

    Args:
        factor: positive, float64 of any shape.

    Returns:
        two int64 tensors of that shape: multipliers in ``[2**30, 2**31)``, or 0, and shifts in ``[1, 62]``.
    """
    mantissa, exponent = torch.frexp(factor.clamp(max=LARGEST))
    multiplier = torch.round(mantissa * 2.0**31).long()
    full = multiplier == 2**31  # one more than an int32 holds
    multiplier, shift = torch.where(full, 2**30, multiplier), 31 - exponent.long() - full.long()
    return torch.where(shift > 62, 0, multiplier), shift.clamp(max=62)


def scaled(x: torch.Tensor, factor: torch.Tensor | float) -> torch.Tensor:
    """``(x * multiplier + 2**(shift - 1)) >> shift``: the integers nearest to ``x * factor``, halves rounded up.

    The product of two int32 fits an int64, which such chips have for this one purpose.

    Args:
        x: int32 of any shape.
        factor: positive; a number, or float64 of a shape that broadcasts with ``x``.

    Returns:
        int32, saturated.
    """
    multiplier, shift = fixed_point(torch.as_tensor(factor, dtype=torch.float64))
    half = torch.ones_like(shift) << (shift - 1)
    return ((x.long() * multiplier + half) >> shift).clamp(INT32.min, INT32.max).int()


def requantized(
    x: torch.Tensor, factor: torch.Tensor | float, zero_point: int, low: int = 0, high: int = 255
) -> torch.Tensor:
    """The uint8 codes of int32 sums, which stand for multiples of ``1 / factor`` output steps; limited to two codes."""
    return (scaled(x, factor).long() + zero_point).clamp(low, high).to(torch.uint8)


def code_range(low: float, high: float, scale: float, zero_point: int) -> tuple[int, int]:
    """The codes of the limits of a clamp, which may be infinite: so a clamp after a layer costs nothing."""
    # 256 steps from the zero point lie beyond all codes
    lowest, highest = (round(min(max(limit / scale, -256.0), 256.0)) + zero_point for limit in (low, high))
    return min(max(lowest, 0), 255), min(max(highest, 0), 255)
