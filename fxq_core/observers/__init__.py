"""Observers: streaming, mergeable ways to find the range of a tensor, one family per file."""

from __future__ import annotations

from fxq_core.observers.base import NonFiniteError, Observer
from fxq_core.observers.entropy import EntropyObserver
from fxq_core.observers.histogram import HistogramObserver, PercentileObserver
from fxq_core.observers.minmax import MinMaxObserver
from fxq_core.observers.moving_average import MovingAverageObserver
from fxq_core.observers.qparams import affine_qparams

__all__ = [
    "EntropyObserver",
    "HistogramObserver",
    "MinMaxObserver",
    "MovingAverageObserver",
    "NonFiniteError",
    "Observer",
    "PercentileObserver",
    "affine_qparams",
]
