"""The histogram is bounded and exact; the range it picks has the smallest true error."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from fxq_core.observers import HistogramObserver, MinMaxObserver, affine_qparams
from fxq_core.observers.histogram import BINS
from fxq_core.reference import fake_quantize
from fxq_core.types import QParams, QSpec

SPEC = QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="histogram")
MAGNITUDES = st.floats(-30, 30).map(lambda power: 10.0**power)
SIGNED = st.builds(lambda value, sign: value * sign, MAGNITUDES, st.sampled_from([-1.0, 0.0, 1.0]))


def observed(*values: torch.Tensor) -> HistogramObserver:
    observer = HistogramObserver(SPEC)
    for value in values:
        observer.observe(value)
    return observer


def squared_error(values: torch.Tensor, qparams: QParams) -> float:
    """The mean squared error of quantizing for real."""
    rounded = fake_quantize(values, *qparams, qparams.qmin, qparams.qmax)
    return (values.double() - rounded.double()).square().mean().item()


def smallest_error(values: torch.Tensor, steps: int = 40) -> float:
    """By brute force, over a grid of ranges."""
    low, high = min(values.min().item(), 0.0), max(values.max().item(), 0.0)
    ends = itertools.product({low * n / steps for n in range(steps + 1)}, {high * n / steps for n in range(steps + 1)})
    ranges = [torch.tensor(pair, dtype=torch.float64) for pair in ends]
    return min(squared_error(values, affine_qparams(pair[0], pair[1], SPEC)) for pair in ranges)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(SIGNED, min_size=1, max_size=5), min_size=1, max_size=6))
def test_it_is_bounded_and_counts_everything_where_it_lies(streams: list[list[float]]) -> None:
    observer = observed(*map(torch.tensor, streams))
    values = torch.tensor([value for stream in streams for value in stream])
    assert len(observer.counts) <= BINS
    assert int(observer.counts.sum()) == len(values)
    assert (observer.low, observer.high) == (values.min().item(), values.max().item())
    bins = [math.floor(value / 2.0**observer.exponent) - observer.start for value in values.tolist()]
    assert torch.equal(observer.counts, torch.bincount(torch.tensor(bins), minlength=len(observer.counts)))
    scale, zero_point = observer.qparams()
    assert math.isfinite(scale)
    assert scale > 0
    assert 0 <= zero_point <= 255


@pytest.mark.parametrize(
    "values",
    [
        [0.0],
        [5.0],
        [-5.0],
        [1e-30],
        [-1e30],
        [1e38, -1e38],
        [1e-45],
        [-7.0, -3.0],
        [0.0, 1e-38],
        [16777217.0, 16777219.0],
    ],
)
def test_few_values_are_represented(values: list[float]) -> None:
    data = torch.tensor(values).repeat(3)
    qparams = observed(data).qparams()
    rounded = fake_quantize(data, *qparams, 0, 255)
    span = max(*values, 0.0) - min(*values, 0.0)
    assert (rounded - data).abs().max() <= max(span / 255, 1e-15)


def test_a_bin_is_as_narrow_as_the_range_allows() -> None:
    for values in (torch.linspace(0, 1, 10_000), torch.linspace(-3, 5, 10_000), torch.linspace(100, 101, 10_000)):
        assert BINS / 2 <= len(observed(values).counts) <= BINS


def heavy_tails() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    gate = torch.rand(20_000)
    student = torch.distributions.StudentT(3.0).sample((20_000,))
    return {
        "normal": torch.randn(20_000),
        "student": student,
        "laplace": torch.distributions.Laplace(0.0, 1.0).sample((20_000,)),
        "cubed": torch.randn(20_000) ** 3,
        "two scales": torch.where(gate < 0.999, torch.randn(20_000), 50 * torch.randn(20_000)),
        "half zeros": student.relu(),
        "positive": student.abs() + 3,
        "negative": -student.abs(),
        "uniform": torch.rand(20_000) * 2 - 0.3,
        "after relu6": (4 * torch.randn(20_000)).clamp(0, 6),
        "nearly all zeros": student.relu() * (gate < 0.02),
        "sparse": student.relu() * (gate < 0.2),
    }


@pytest.mark.parametrize("name", heavy_tails())
def test_its_range_is_as_good_as_brute_force(name: str) -> None:
    values = heavy_tails()[name]
    assert squared_error(values, observed(values).qparams()) <= 1.05 * smallest_error(values)


@pytest.mark.parametrize("name", ["normal", "student", "laplace", "cubed", "two scales"])
def test_it_beats_the_extremes_on_heavy_tails(name: str) -> None:
    torch.manual_seed(0)
    values = heavy_tails()[name]
    extremes = MinMaxObserver(SPEC)
    extremes.observe(values)
    assert squared_error(values, observed(values).qparams()) < squared_error(values, extremes.qparams())


def test_it_is_never_much_worse_than_the_extremes() -> None:
    for name, values in heavy_tails().items():
        extremes = MinMaxObserver(SPEC)
        extremes.observe(values)
        assert squared_error(values, observed(values).qparams()) <= 1.05 * squared_error(values, extremes.qparams()), (
            name
        )


def test_a_wide_range_after_a_narrow_one() -> None:
    observer = observed(torch.tensor([1e-30]), torch.tensor([1e30]))
    assert int(observer.counts.sum()) == 2
    back = observed(torch.tensor([1e30]), torch.tensor([1e-30]))
    assert observer.qparams() == back.qparams()


def test_it_has_no_channels() -> None:
    with pytest.raises(
        ValueError, match=r"^a histogram has one range for the whole tensor; use 'minmax' for channels$"
    ):
        HistogramObserver(QSpec(torch.int8, -127, 127, symmetric=True, axis=0, observer=""))
