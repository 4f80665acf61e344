"""The built-in observers keep the laws that everybody's must."""

from __future__ import annotations

import fxq_core as fxq
from fxq_core.observers.histogram import PercentileObserver
from fxq_core.testing import ObserverSuite

from support.quantizing import CORE


class BuiltIn(ObserverSuite):
    @classmethod
    def registry(cls) -> fxq.Registry:
        return CORE


class TestMinMax(BuiltIn):
    observer, order_insensitive, covers = "minmax", True, 1.0


class TestHistogram(BuiltIn):
    observer, order_insensitive = "histogram", True


class TestEntropy(BuiltIn):
    observer, order_insensitive = "entropy", True


class TestPercentile(BuiltIn):
    observer, order_insensitive, covers = "percentile", True, 1 - 2 * PercentileObserver.TAIL


class TestMovingAverage(BuiltIn):
    # the extremes of a stream may cancel, so the error is a share of the largest of them
    observer, tolerance = "moving-average", 1e-12
