"""The average of the latest ranges."""

from __future__ import annotations

import pytest
import torch

from fxq_core.observers import MovingAverageObserver
from fxq_core.observers.moving_average import RATE
from fxq_core.types import QSpec

SPEC = QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="moving-average")


def observed(*extremes: tuple[float, float]) -> MovingAverageObserver:
    observer = MovingAverageObserver(SPEC)
    for low, high in extremes:
        observer.observe(torch.tensor([low, 0.0, high]))
    return observer


def test_a_constant_range_is_its_own_average() -> None:
    for count in (1, 2, 1000):
        assert observed(*[(-3.0, 5.0)] * count).range() == pytest.approx((-3.0, 5.0), rel=1e-12)


def test_later_tensors_weigh_more_by_the_rate() -> None:
    ranges = [(-1.0, 1.0), (-2.0, 4.0), (-7.0, 3.0)]
    weights = [(1 - RATE) ** (len(ranges) - 1 - n) for n in range(len(ranges))]
    expected = [sum(w * r[end] for w, r in zip(weights, ranges, strict=True)) / sum(weights) for end in (0, 1)]
    assert observed(*ranges).range() == pytest.approx(expected, rel=1e-12)


def test_one_outlier_is_outweighed() -> None:
    low, high = observed((-1000.0, 1000.0), *[(-1.0, 1.0)] * 500).range()
    assert (low, high) == pytest.approx((-1.0, 1.0), abs=0.1)
    assert high > 1


def test_the_order_of_a_merge_matters() -> None:
    early, late = [(-1.0, 1.0)] * 30, [(-5.0, 9.0)] * 20
    first, second = observed(*early), observed(*late)
    second.merge(first)
    first.merge(observed(*late))
    assert first.range() == pytest.approx(observed(*early, *late).range(), rel=1e-12)
    assert second.range() == pytest.approx(observed(*late, *early).range(), rel=1e-12)
    assert first.range()[1] > second.range()[1]


def test_it_has_no_channels() -> None:
    with pytest.raises(
        ValueError, match=r"^a moving average has one range for the whole tensor; use 'minmax' for channels$"
    ):
        MovingAverageObserver(QSpec(torch.int8, -127, 127, symmetric=True, axis=0, observer=""))
