"""What the masks of attention do to its scores; each is one op of a graph and looks at what it gets when it runs."""

from __future__ import annotations

import math
from typing import Any

import torch


def float_mask(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A mask as what is added to the scores: where a boolean one is True, minus infinity."""
    if mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)


def merged_mask(
    attn_mask: torch.Tensor | None, key_padding_mask: torch.Tensor | None, query: torch.Tensor
) -> torch.Tensor:
    """Both masks as one that is added to the scores of a query of shape ([batch,] heads, length, head size).

    Args:
        attn_mask: (length, source length), or one of those for each batch and head.
        key_padding_mask: ([batch,] source length).
    """
    merged: Any = None
    if attn_mask is not None:
        merged = float_mask(attn_mask, query)
        if query.dim() == 4 and merged.dim() == 3:
            merged = merged.unflatten(0, tuple(query.shape[:2]))
    if key_padding_mask is not None:
        padding = float_mask(key_padding_mask, query).unsqueeze(-2).unsqueeze(-2)
        merged = padding if merged is None else merged + padding
    result: torch.Tensor = merged
    return result


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The softmax of masked scores: one op, because the minus infinity within has no place in int8."""
    return torch.softmax(scores + mask, dim=-1)


def without_padding(output: torch.Tensor, padding: torch.Tensor, check: bool) -> torch.Tensor:
    """Zeros at the padding of a batch, as torch's nested tensors leave them where they serve.

    Args:
        output: (batch, length, size).
        padding: (batch, length), True or minus infinity where there is padding.
        check: whether padding in front or between keeps torch from using nested tensors.
    """
    missing = padding if padding.dtype is torch.bool else padding != 0
    if output.dim() != 3 or (check and bool((missing[:, :-1] & ~missing[:, 1:]).any())):
        return output
    return output.masked_fill(missing.unsqueeze(-1), 0.0)
