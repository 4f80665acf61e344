"""The observer that loses the least information: the same exact histogram, cut by the divergence of what is left."""

from __future__ import annotations

import math

import torch

from fxq_core.observers.histogram import HistogramWithZeros

CANDIDATES = 128
# what an end is worth depends on the other, so the first is sought again
SWEEPS = ("high", "low", "high")


class EntropyObserver(HistogramWithZeros):
    """The range with the smallest Kullback-Leibler divergence of the codes' distribution from that of the values.

    As in Migacz 2017 ("8-bit inference with TensorRT"), values outside a candidate range are counted in its outermost
    bins, the codes' distribution knows the values inside only, and the share of a code is spread evenly over the bins
    it stands for that are not empty. One end is sought after the other, among ``CANDIDATES`` for each.
    """

    def range(self) -> tuple[float, float]:
        if self.low == self.high:
            return self.low, self.high
        ends = {"low": min(self.low, 0.0), "high": max(self.high, 0.0)}
        widest = dict(ends)
        for end in SWEEPS:
            # the widest first: it is taken if others are as good
            steps = torch.arange(CANDIDATES, 0, -1, dtype=torch.float64) / CANDIDATES
            tried = {name: torch.full_like(steps, value) for name, value in ends.items()}
            tried[end] = widest[end] * steps
            ends[end] = tried[end][self.divergences(**tried).argmin()].item()
        return ends["low"], ends["high"]

    def divergences(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """The divergence, in nats, for each of some candidate ranges.

        With the counts ``p`` of bins, values outside included, and the counts ``l`` of codes, spread over ``b`` bins,
        it is ``sum(p / P * log((p / P) / (l / b / L)))`` where ``P`` and ``L`` are the sums (all by prefix sums).

        Args:
            low, high: the ends, float64 of shape ``(n,)``; 0 lies between them.

        Returns:
            float64 of shape ``(n,)``; infinite where a bin that is not empty has a code without values inside.
        """
        levels = self.spec.qmax - self.spec.qmin + 1
        scale = ((high - low) / (levels - 1))[:, None]
        centers, counts = self.centers(), self.counts.double()
        if self.zeros:
            counts[-self.start] -= self.zeros
        first, last = torch.searchsorted(centers, low), torch.searchsorted(centers, high, right=True) - 1
        # a code stands for what is up to half a step away, and so starts at this bin
        edges = torch.arange(1, levels) - 0.5 + torch.round(low[:, None] / scale)
        begin, end = first[:, None], last[:, None] + 1
        starts = torch.cat((begin, torch.searchsorted(centers, edges * scale).clamp(begin, end), end), 1)
        sums = [_running(numbers) for numbers in (counts, (counts > 0).double(), torch.xlogy(counts, counts))]
        inside, bins, information = (running[starts].diff(dim=1) for running in sums)
        before = sums[0]
        whole, kept, information = before[-1], inside.sum(1), information.sum(1)
        reference = inside.clone()
        for outermost, outside in ((first, before[first]), (last, whole - before[last + 1])):
            count = counts[outermost.clamp(0, len(counts) - 1)]
            information += torch.xlogy(count + outside, count + outside) - torch.xlogy(count, count)
            code = ((starts <= outermost[:, None]).sum(1, keepdim=True) - 1).clamp(0, levels - 1)
            reference.scatter_add_(1, code, outside[:, None])
            bins.scatter_add_(1, code, ((count == 0) & (outside > 0)).double()[:, None])
        information -= torch.xlogy(reference, inside / bins.clamp(min=1.0)).sum(1)
        return torch.where((first < last) & (kept > 0), information / whole - torch.log(whole / kept), math.inf)


def _running(numbers: torch.Tensor) -> torch.Tensor:
    """The sums of the first 0, 1, ... numbers."""
    return torch.cat((torch.zeros(1, dtype=torch.float64), numbers.cumsum(0)))
