"""The codes of a quantized tensor as bytes, and back: the same memory, seen as another dtype.

Copying takes longer than most ops on bytes: ``int_repr`` goes number by number.
"""

from __future__ import annotations

import torch


def codes_of(x: torch.Tensor) -> torch.Tensor:
    """The uint8 codes of a quint8 tensor, in its memory; not to be written to."""
    codes = torch.empty(0, dtype=torch.uint8)
    return codes.set_(x.untyped_storage(), x.storage_offset(), x.shape, x.stride())


def from_codes(codes: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """The quantized tensor that uint8 codes stand for, in their memory."""
    x = torch._empty_affine_quantized((0,), scale=scale, zero_point=zero_point, dtype=torch.quint8)
    return x.set_(codes.untyped_storage(), codes.storage_offset(), codes.shape, codes.stride())
