"""The percentile observer cuts the share that it says, at each end."""

from __future__ import annotations

import pytest
import torch

from fxq_core.observers import PercentileObserver
from fxq_core.types import QSpec

SPEC = QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="percentile")


def cut(*values: torch.Tensor) -> tuple[float, float]:
    observer = PercentileObserver(SPEC)
    for value in values:
        observer.observe(value)
    return observer.range()


def test_the_share_outside_is_the_tail() -> None:
    torch.manual_seed(0)
    values = torch.randn(1_000_000)
    low, high = cut(*values.chunk(7))
    tail = PercentileObserver.TAIL
    width = float(values.max() - values.min()) / 2000  # a bin, at least
    assert (values < low).double().mean() <= tail
    assert (values > high).double().mean() <= tail
    # one bin further in would cut too much
    assert (values < low + 2 * width).double().mean() > tail
    assert (values > high - 2 * width).double().mean() > tail


@pytest.mark.parametrize("count", [1, 2, 10, 99_999])
def test_few_values_are_all_kept(count: int) -> None:
    values = torch.linspace(-1, 3, count) if count > 1 else torch.tensor([-1.0])
    assert cut(values) == (values.min().item(), values.max().item())


def test_one_outlier_in_a_million_is_cut() -> None:
    values = torch.rand(1_000_000)
    low, high = cut(torch.cat([values, torch.tensor([50.0, -50.0])]))
    assert low >= -0.1
    assert high <= 1.1


def test_ends_stay_within_the_data() -> None:
    low, high = cut(torch.full((10,), 3.3))
    assert (low, high) == (pytest.approx(3.3), pytest.approx(3.3))
    assert cut(torch.tensor([-2.5, -2.25])) == (-2.5, -2.25)
