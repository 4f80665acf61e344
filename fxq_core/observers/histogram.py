"""Observers that know the distribution: one exact histogram, two ways to cut it.

The bins lie on a grid that the data can't choose: bin ``i`` holds ``[i * w, (i + 1) * w)`` where ``w`` is the
smallest power of two with which the whole range needs at most ``BINS`` bins. Widening the range
doubles ``w`` and adds neighbouring bins, which loses nothing that a histogram made with the wide bins
would know. So the state is a function of the values alone: any split, order or merge gives the same counts.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from fxq_core.observers.base import Observer
from fxq_core.observers.bins import bin_counts, count_zeros
from fxq_core.types import QSpec

BINS = 4096
CUTS = 256
# finer bins would only resolve what affine_qparams floors
FINEST = -80
# so much wider than that of all but the outermost share of the values is a range with outliers
OUTLIERS, BULK = 10.0, 1e-4
# nor is there anything between two neighbouring float32 values
PRECISION = 24


class Histogram(Observer):
    """Counts values in at most ``BINS`` bins; the order of data does not matter.

    ``low`` and ``high`` are the extremes, ``exponent`` the log2 of the bin width, ``start`` the index of the first
    bin, and ``counts`` (int64) how many values each bin holds.
    """

    STATE: tuple[str, ...] = ("low", "high", "exponent", "start", "counts")

    def __init__(self, spec: QSpec) -> None:
        if spec.axis is not None:
            raise ValueError("a histogram has one range for the whole tensor; use 'minmax' for channels")
        super().__init__(spec)
        self.low = self.high = 0.0
        self.exponent = self.start = 0
        self.counts = torch.zeros(1, dtype=torch.int64)

    def update(self, value: torch.Tensor, low: float, high: float) -> None:
        self._cover(low, high)
        self.counts = self.counts + bin_counts(value, self.exponent, self.start, len(self.counts))

    def absorb(self, other: Any) -> None:
        self._cover(other.low, other.high)
        added = Histogram.__new__(type(self))
        added._restore(other.state_dict())
        added.spec = self.spec
        added._cover(self.low, self.high)
        self.counts = self.counts + added.counts

    def _cover(self, low: float, high: float) -> None:
        """Widen the grid until it holds ``low`` to ``high``."""
        old_exponent, old_start, old_counts = self.exponent, self.start, self.counts
        seen = self.count > 0
        if seen and self.low <= low and high <= self.high:
            return
        self.low, self.high = (min(low, self.low), max(high, self.high)) if seen else (low, high)
        extent, magnitude = self.high - self.low, max(abs(self.low), abs(self.high))
        exponent = max(FINEST, _log2(magnitude) - PRECISION, _log2(extent / BINS))
        while math.floor(self.high / 2.0**exponent) - math.floor(self.low / 2.0**exponent) >= BINS:
            exponent += 1
        self.exponent, self.start = exponent, math.floor(self.low / 2.0**exponent)
        size = math.floor(self.high / 2.0**exponent) - self.start + 1
        self.counts = torch.zeros(size, dtype=torch.int64)
        if seen:
            old_bins = torch.arange(len(old_counts)) + old_start
            bins = (old_bins >> min(exponent - old_exponent, 62)) - self.start
            self.counts.index_add_(0, bins, old_counts)

    def without(self, tail: float) -> tuple[float, float]:
        """The range that leaves a share of the values out at each end."""
        running = self.counts.double().cumsum(0) / self.counts.sum()
        edges = (torch.arange(len(self.counts) + 1).double() + self.start) * 2.0**self.exponent
        first = int(torch.searchsorted(running, tail, right=True))
        last = int(torch.searchsorted(running, 1 - tail))
        return max(edges[first].item(), self.low), min(edges[last + 1].item(), self.high)

    def advice(self) -> str:
        if not self.count:
            return ""
        low, high = self.without(BULK / 2)
        bulk, whole = max(high, 0.0) - min(low, 0.0), max(self.high, 0.0) - min(self.low, 0.0)
        if whole <= OUTLIERS * bulk:
            return ""
        wider = f"{whole / bulk:.0f} times wider" if bulk else "wider"
        return (
            f"outliers make its range {wider} than that of 99.99 % of its values; clamp it in the model, or observe it "
            "with 'percentile'"
        )

    def centers(self) -> torch.Tensor:
        """The middle of each bin, float64, of shape ``(bins,)``; the outer bins end at the extremes."""
        edges = (torch.arange(len(self.counts) + 1).double() + self.start) * 2.0**self.exponent
        return ((edges[:-1].clamp(min=self.low)) + edges[1:].clamp(max=self.high)) / 2


def _log2(number: float) -> int:
    """The largest power of two that is not above a positive number; very small for 0."""
    return math.frexp(number)[1] - 1 if number > 0 else FINEST


class HistogramWithZeros(Histogram):
    """A histogram for costs of rounding, from which values of exactly 0 are left out: they have a code.

    ``zeros`` is how many there were; ``counts`` has them.
    """

    STATE = (*Histogram.STATE, "zeros")

    def __init__(self, spec: QSpec) -> None:
        super().__init__(spec)
        self.zeros = 0

    def update(self, value: torch.Tensor, low: float, high: float) -> None:
        super().update(value, low, high)
        self.zeros += count_zeros(value)

    def absorb(self, other: Any) -> None:
        super().absorb(other)
        self.zeros += other.zeros


class HistogramObserver(HistogramWithZeros):
    """The range with the smallest mean squared error between the values and their codes.

    Every pair of ``CUTS`` candidate ends is tried. A value inside costs ``scale**2 / 12``, the variance of rounding;
    a value outside costs its squared distance to the nearer end.
    """

    def range(self) -> tuple[float, float]:
        if self.low == self.high:
            return self.low, self.high
        centers, counts = self.centers(), self.counts.double()
        # a range always holds 0, so no candidate lies on the wrong side of it
        lows = torch.linspace(min(self.low, 0.0), 0.0, CUTS, dtype=torch.float64)
        highs = torch.linspace(0.0, max(self.high, 0.0), CUTS, dtype=torch.float64)
        lows, highs = lows.unique(), highs.unique()  # type: ignore[no-untyped-call]  # torch has no types for it
        below = _cut_cost(centers, counts, lows)
        above = _cut_cost(-centers.flip(0), counts.flip(0), -highs)
        within = self._counts_up_to(centers, highs)[None, :] - self._counts_up_to(centers, lows)[:, None]
        within = within - self.zeros
        scale = (highs[None, :] - lows[:, None]) / (self.spec.qmax - self.spec.qmin)
        cost = below[:, None] + above[None, :] + within * scale.square() / 12
        best = int(torch.argmin(cost))
        return lows[best // len(highs)].item(), highs[best % len(highs)].item()

    def _counts_up_to(self, centers: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        running = torch.cat((torch.zeros(1, dtype=torch.float64), self.counts.double().cumsum(0)))
        return running[torch.searchsorted(centers, ends)]


def _cut_cost(centers: torch.Tensor, counts: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """The summed squared distance to each end of the values below it: ``sum(n * (end - x)**2)``, by prefix sums."""
    zero = torch.zeros(1, dtype=torch.float64)
    total, first, second = (
        torch.cat((zero, (counts * centers**power).cumsum(0)))[torch.searchsorted(centers, ends)] for power in (0, 1, 2)
    )
    return (total * ends.square() - 2 * ends * first + second).clamp(min=0.0)


class PercentileObserver(Histogram):
    """The range that leaves ``TAIL`` of the values out at each end."""

    TAIL = 1e-5

    def range(self) -> tuple[float, float]:
        return self.without(self.TAIL)
