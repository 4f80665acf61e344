"""The best observer for each value by itself: the one whose codes are nearest to it, in the square."""

from __future__ import annotations

from typing import Any

import torch

import fxq_core as fxq
from fxq_core.observers import EntropyObserver, MinMaxObserver, MovingAverageObserver, PercentileObserver
from fxq_core.observers.histogram import HistogramObserver
from fxq_core.reference import fake_quantize

NAME = "nearest"
CHOICE = (MinMaxObserver, MovingAverageObserver, PercentileObserver, HistogramObserver, EntropyObserver)


class NearestObserver(HistogramObserver):
    """Watches with each of the others, and takes the range with the least error on what it counted."""

    def __init__(self, spec: fxq.QSpec) -> None:
        super().__init__(spec)
        self.others = [build(spec) for build in CHOICE]

    def observe(self, value: torch.Tensor) -> None:
        super().observe(value)
        for other in self.others:
            other.observe(value)

    def qparams(self) -> fxq.QParams:
        return min((other.qparams() for other in self.others), key=self.error)

    def error(self, qparams: fxq.QParams) -> float:
        """The summed squared error of the codes, with the values in the middle of their bins."""
        centers, counts = self.centers(), self.counts.double()
        if self.zeros:
            counts[-self.start] -= self.zeros
        error = centers - fake_quantize(centers, *qparams, qparams.qmin, qparams.qmax)
        return float((counts * error.square()).sum())


class NearestPlugin:
    """Brings the observer, for this benchmark alone."""

    @fxq.hookimpl
    def fxq_observers(self) -> Any:
        yield fxq.ObserverSpec(NAME, NearestObserver)
