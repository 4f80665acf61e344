"""Weights that can't saturate the int16 sums of x86 kernels without VNNI.

Such kernels multiply unsigned activations with signed weights and add pairs of products in int16 (``vpmaddubsw``),
which saturates (pytorch#44939). With activations up to 255 no pair can, if the two largest weights of a channel add
up to at most 128 and the two smallest to at least -128: 255 * 128 < 2**15.
"""

from __future__ import annotations

import torch

LIMIT = 128
SATURATING = frozenset({"fbgemm", "x86", "onednn"})


def saturates(engine: str) -> bool:
    """Whether the kernels of this engine, on the CPU that this process runs on, may saturate."""
    return engine in SATURATING and not torch.cpu._is_vnni_supported()


def may_saturate(weight: torch.Tensor) -> torch.Tensor:
    """Which output channels hold two weights whose products can saturate.

    Args:
        weight: int8 codes, output channels first.

    Returns:
        bool of shape ``(channels,)``.
    """
    rows = weight.flatten(1).to(torch.int16)
    count = min(2, rows.shape[1])
    largest = rows.topk(count, dim=1).values.sum(1)
    smallest = rows.topk(count, dim=1, largest=False).values.sum(1)
    return (largest > LIMIT) | (smallest < -LIMIT)


def saturation_free(weight: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same weight with one bit less in the channels that may saturate, and twice the scale.

    Args:
        weight: int8 codes, output channels first.
        scale: float32, one for each channel or one in all; with one in all, any such channel narrows all.
    """
    narrow = may_saturate(weight)
    if scale.dim() == 0:
        narrow = narrow.any().expand_as(narrow)
    wide = narrow.reshape(-1, *[1] * (weight.dim() - 1))
    halved = torch.round(weight.float() / 2).to(weight.dtype)
    return torch.where(wide, halved, weight), torch.where(narrow if scale.dim() else narrow.any(), scale * 2, scale)
