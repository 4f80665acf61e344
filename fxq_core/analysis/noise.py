"""How far quantized values are from float ones: SQNR, cosine, largest error."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils._pytree import tree_leaves


class Noise:
    """Sums up signal and noise over any number of values.

    What is infinite in both, as a mask is, counts for neither; a result that is no number is as bad as can be.
    """

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, expected: torch.Tensor, result: torch.Tensor) -> None:
        """Two tensors of one shape, of any dtypes."""
        wanted = expected.detach().double()
        apart = apart_of(wanted, result)
        self.signal += float(wanted[wanted.isfinite()].square().sum())
        self.noise += float(apart.square().sum())

    @property
    def sqnr(self) -> float:
        """In dB: ``10 log10(sum(x**2) / sum((x - y)**2))``; infinite where there is no noise, and minus that without
        a signal.
        """
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal and math.isfinite(self.noise) else -math.inf


def sqnr(expected: Any, result: Any) -> float:
    """Signal to quantization noise in dB, over all float tensors of two outputs of one structure."""
    found = Noise()
    for one, other in zip(float_leaves(expected), float_leaves(result), strict=True):
        found.add(one, other)
    return found.sqnr


def cosine(expected: torch.Tensor, result: torch.Tensor) -> float:
    """The cosine of the angle between two tensors of one shape; 1 if both are zero, 0 if one is or is not finite."""
    one, other = (tensor.detach().double().flatten() for tensor in (expected, result))
    both = one.isfinite() | (one != other)
    one, other = one[both], other[both]
    if torch.equal(one, other):
        return 1.0
    length = float(one.norm() * other.norm())
    return float(one @ other) / length if length and math.isfinite(length) else 0.0


def largest_error(expected: torch.Tensor, result: torch.Tensor) -> float:
    """The largest absolute difference of two tensors of one shape; infinite where the result is no number."""
    apart = apart_of(expected.detach().double(), result).abs()
    return float(apart.max()) if apart.numel() else 0.0


def apart_of(wanted: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    found = result.detach().double()
    return torch.where(wanted == found, 0.0, wanted - found).nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)


def float_leaves(output: Any) -> list[torch.Tensor]:
    """The float tensors in an output of any structure."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
