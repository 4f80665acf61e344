"""From a range to qparams."""

from __future__ import annotations

import torch

from fxq_core.types import QParams, QSpec

# small enough for any real range; large enough that a product of two scales stays a normal float32
MIN_SCALE = 2.0**-60
SMALLEST_FACTOR, LARGEST_FACTOR, LARGEST_PRODUCT = 2.0**-40, 2.0**40, 2.0**120


def affine_qparams(low: torch.Tensor, high: torch.Tensor, spec: QSpec) -> QParams:
    """The qparams that cover a range, after widening it to hold 0, which is then exact.

    ``scale = (high - low) / (qmax - qmin)`` and ``zero_point = qmin - round(low / scale)``, or with a
    symmetric spec ``scale = max(|low|, |high|) / min(|qmin|, qmax)`` and 0 (Jacob et al. 2018, section 3).
    A range of one value gets a scale that is a power of two times smaller, so that this value is exact too.

    Args:
        low, high: float64, of shape ``()`` or, with ``spec.axis``, ``(channels,)``.
        spec: the codes to map the range to.
    """
    single = low == high
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    if spec.symmetric:
        scale = torch.maximum(-low, high) / min(-spec.qmin, spec.qmax)
    else:
        scale = (high - low) / (spec.qmax - spec.qmin)
        power = 1 << ((spec.qmax - spec.qmin).bit_length() - 1)
        scale = torch.where(single, (high - low) / power, scale)
    # kernels take float32 scales: round once here, so that every user of the qparams sees the same number
    scale = scale.clamp(min=MIN_SCALE).to(torch.float32)
    if spec.symmetric:
        zero_point = torch.zeros_like(scale, dtype=torch.int64)
    else:
        zero_point = (spec.qmin - torch.round(low / scale.double())).clamp(spec.qmin, spec.qmax).to(torch.int64)
    if spec.axis is None:
        return QParams(scale.item(), int(zero_point.item()), spec.qmin, spec.qmax)
    return QParams(scale, zero_point, spec.qmin, spec.qmax)


def bias_floor(bias: torch.Tensor, input_scale: float) -> torch.Tensor:
    """The smallest weight scales at which a bias fits the int32 accumulator, with a bit to spare for the sum.

    An engine adds ``round(bias / (input_scale * weight_scale))`` to the products.

    Args:
        bias: float32 of shape ``(channels,)``.
    """
    return bias.abs().double() / (input_scale * 2.0**30)


def within_limits(scale: torch.Tensor, input_scale: float, output_scale: float) -> torch.Tensor:
    """Weight scales whose factor ``input_scale * scale / output_scale`` is one that every kernel takes.

    A kernel multiplies its integer sums with that factor, and some refuse one that is not a normal float32. Below the
    limits a sum of less than 2**24 products adds nothing to any code; above them, one product is more than all codes.

    Args:
        scale: float32 of any shape.
    """
    factor = output_scale / input_scale
    limited = scale.double().clamp(SMALLEST_FACTOR * factor, LARGEST_FACTOR * factor)
    return limited.clamp(MIN_SCALE, LARGEST_PRODUCT / input_scale).to(torch.float32)
