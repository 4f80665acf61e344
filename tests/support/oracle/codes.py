"""Codes, the numbers that they stand for, and the two orders in which kernels round."""

from __future__ import annotations

from typing import NamedTuple

import torch

from fxq_core.types import QParams


class Codes(NamedTuple):
    """``values`` are int64 codes of any shape; they stand for ``(values - zero_point) * scale``."""

    values: torch.Tensor
    qparams: QParams

    def steps(self) -> torch.Tensor:
        """How many scales the numbers are, in int64."""
        return self.values - self.qparams.zero_point

    def numbers(self) -> torch.Tensor:
        """The numbers in float64: products of 9 and 24 bits, so they are exact."""
        return self.steps().double() * self.qparams.scale


def float32(number: float) -> torch.Tensor:
    """A number as a float32 tensor, so that what is computed with it rounds as float32 does."""
    return torch.tensor(number, dtype=torch.float32)


def zero_point_last(steps: torch.Tensor, output: QParams) -> torch.Tensor:
    """Codes of results in steps of the output's scale: half to even, then the zero point is added."""
    return (torch.round(steps) + output.zero_point).clamp(output.qmin, output.qmax).long()


def zero_point_first(steps: torch.Tensor, output: QParams) -> torch.Tensor:
    """The same with the zero point added in the dtype of ``steps``; a half then goes to the even code."""
    return torch.round(steps + output.zero_point).clamp(output.qmin, output.qmax).long()


def nearest(x: torch.Tensor, qparams: QParams) -> Codes:
    """The codes nearest to numbers."""
    return Codes(zero_point_last(x.double() / qparams.scale, qparams), qparams)


def hostile(like: torch.Tensor, qparams: QParams, generator: torch.Generator) -> Codes:
    """Codes for a tensor: by the row of a batch uniform, of the outermost two, or all one of these."""
    low, high = qparams.qmin, qparams.qmax
    uniform = torch.randint(low, high + 1, like.shape, generator=generator)
    ends = torch.where(torch.rand(like.shape, generator=generator) < 0.5, low, high)
    rows = torch.arange(len(like)).reshape([-1, *[1] * (like.dim() - 1)]) % 8
    values = torch.where(rows == 1, ends, uniform)
    return Codes(torch.where(rows == 2, high, torch.where(rows == 3, low, values)), qparams)
