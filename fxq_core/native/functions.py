"""Kernels with their sharp edges covered, for generated code to call; quantized tensors in and out."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def clamp(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Limit the values of ``x``; a limit may be infinite.

    On the codes themselves: QNNPACK's kernel mixes up the elements of a channels_last tensor.
    """
    scale, zero_point = x.q_scale(), x.q_zero_point()
    # 256 steps from the zero point lie beyond all codes, so an infinite limit becomes none
    lowest, highest = (round(min(max(limit / scale, -256.0), 256.0)) + zero_point for limit in (low, high))
    codes = x.int_repr().clamp(min(max(lowest, 0), 255), min(max(highest, 0), 255))
    return torch._make_per_tensor_quantized_tensor(codes, scale, zero_point)


def hardswish(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """``x * clamp(x + 3, 0, 6) / 6``; an empty tensor never reaches QNNPACK, which would divide by zero."""
    if x.numel() == 0:
        return _empty(x, scale, zero_point)
    result: torch.Tensor = torch.ops.quantized.hardswish(x, scale, zero_point)
    return result


def hardsigmoid(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """``clamp(x + 3, 0, 6) / 6`` with the kernel's own qparams; an empty tensor never reaches QNNPACK."""
    return F.hardsigmoid(x) if x.numel() else _empty(x, scale, zero_point)


def _empty(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return torch._make_per_tensor_quantized_tensor(x.int_repr(), scale, zero_point)
