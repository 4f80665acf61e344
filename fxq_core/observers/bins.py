"""Counting values in bins, exactly, at a small part of what computing them costs.

A tensor is taken in blocks that stay in the processor's cache, so what is computed on the way never takes more memory
than one block. The order of values does not matter, so they are read as they lie in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

# values; with less the calls cost more than the counting, with more the blocks leave the cache
BLOCK = 1 << 16


def bin_counts(value: torch.Tensor, exponent: int, start: int, bins: int) -> torch.Tensor:
    """How many values lie in each of the bins ``[i * 2**exponent, (i + 1) * 2**exponent)`` from ``i = start`` on.

    Args:
        value: float32 of any shape; every value lies in one of the bins.
        exponent: at least -126, and such that no value needs more than 25 bits to the left of the binary point when
            it is divided by ``2**exponent``.

    Returns:
        int64 of shape ``(bins,)``.
    """
    # a factor of 1 or more is exact in float32; a smaller one might turn a small negative value to 0, the next bin
    dtype = torch.float32 if exponent <= 0 else torch.float64
    size = min(BLOCK, value.numel())
    scaled, indices = torch.empty(size, dtype=dtype), torch.empty(size, dtype=torch.int32)
    counts = torch.zeros(bins, dtype=torch.int64)
    for block in _blocks(value):
        floors, index = scaled[: len(block)], indices[: len(block)]
        floors.copy_(block).mul_(2.0**-exponent).floor_()
        # a difference of integers of 25 bits that come from float32 values; it is below the number of bins, so exact
        index.copy_(floors.sub_(start))
        counts += torch.bincount(index, minlength=bins)
    return counts


def count_zeros(value: torch.Tensor) -> int:
    """How many values are exactly 0; a tensor of any shape and dtype."""
    return sum(int((block == 0).sum()) for block in _blocks(value))


def _blocks(value: torch.Tensor) -> Iterator[torch.Tensor]:
    """All values, in pieces of shape ``(n,)`` with ``n`` up to ``BLOCK``; a dense tensor is not copied."""
    order = sorted(range(value.dim()), key=value.stride, reverse=True)
    yield from torch.split(value.permute(order).reshape(-1), BLOCK)
