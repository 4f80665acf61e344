"""What every built-in observer promises beyond the laws of the conformance kit: refusals, batches, kinds of tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from fxq_core.errors import CalibrationError
from fxq_core.observers import (
    EntropyObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageObserver,
    NonFiniteError,
    Observer,
    PercentileObserver,
)
from fxq_core.types import QSpec

SPEC = QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="")
ORDERLESS = [MinMaxObserver, HistogramObserver, EntropyObserver, PercentileObserver]
ALL = [*ORDERLESS, MovingAverageObserver]

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False) | st.floats(-8, 8, width=32) | st.just(0.0)
law = settings(max_examples=60, deadline=None)


def observed(kind: Any, *streams: list[torch.Tensor]) -> Observer:
    observer: Observer = kind(SPEC)
    for stream in streams:
        for value in stream:
            observer.observe(value)
    return observer


def assert_equal(one: Observer, other: Observer) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name])), name
    if one.count:
        assert one.qparams() == other.qparams()


@pytest.mark.parametrize("kind", ORDERLESS)
@law
@given(values=st.lists(FLOATS, min_size=1, max_size=30), cut=st.integers(0, 30), data=st.data())
def test_neither_order_nor_batches_matter(kind: Any, values: list[float], cut: int, data: Any) -> None:
    shuffled = torch.tensor(data.draw(st.permutations(values)))
    one, other = observed(kind, [torch.tensor(values)]), observed(kind, [shuffled[:cut], shuffled[cut:]])
    other.count = one.count
    assert_equal(one, other)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, float("nan")], "1 NaN and 0 Inf among 2 values"),
        ([float("inf"), -float("inf"), float("nan"), 0.0], "1 NaN and 2 Inf among 4 values"),
        ([[-float("inf")]], "0 NaN and 1 Inf among 1 values"),
        ([float("nan")] * 3, "3 NaN and 0 Inf among 3 values"),
    ],
)
def test_what_is_not_finite_is_refused_and_changes_nothing(kind: Any, value: Any, message: str) -> None:
    for stream in ([], [torch.tensor([1.0, -3.0])]):
        observer, twin = observed(kind, stream), observed(kind, stream)
        with pytest.raises(NonFiniteError) as raised:
            observer.observe(torch.tensor(value))
        assert str(raised.value) == message
        assert_equal(observer, twin)


def test_a_number_that_float32_does_not_hold_is_infinite() -> None:
    with pytest.raises(NonFiniteError) as raised:
        observed(MinMaxObserver, [torch.tensor([1e300, 2.0], dtype=torch.float64)])
    assert str(raised.value) == "0 NaN and 1 Inf among 2 values"


@pytest.mark.parametrize("kind", ALL)
def test_empty_tensors_are_skipped(kind: Any) -> None:
    observer = observed(kind, [torch.zeros(0), torch.zeros(3, 0, 2)])
    assert observer.count == 0
    with pytest.raises(CalibrationError) as raised:
        observer.qparams()
    assert str(raised.value) == "no observed tensor held a value"
    observer.observe(torch.tensor([2.0]))
    assert_equal(observer, observed(kind, [torch.tensor([2.0])]))


@pytest.mark.parametrize("kind", ALL)
def test_any_shape_layout_and_dtype_is_taken(kind: Any) -> None:
    values = torch.linspace(-1, 2, 24).reshape(2, 3, 4)
    expected = observed(kind, [values]).qparams()
    for same in (
        values.transpose(0, 2),
        values.double(),
        values.clone().requires_grad_(),
        values[None],
        values.flatten(),
    ):
        assert observed(kind, [same]).qparams() == expected
    assert observed(kind, [torch.tensor(2.0)]).count == 1
    assert observed(kind, [torch.tensor([True, False])]).qparams().scale == pytest.approx(1 / 255, rel=0.01)
    assert observed(kind, [torch.tensor([0.5, 2.0], dtype=torch.bfloat16)]).count == 1


def test_only_like_merges_with_like() -> None:
    other_spec = QSpec(torch.int8, -128, 127, symmetric=False, axis=None, observer="")
    for stranger in (HistogramObserver(SPEC), MinMaxObserver(other_spec)):
        with pytest.raises(ValueError, match=r"^MinMaxObserver can't merge a .*Observer or another QSpec$"):
            MinMaxObserver(SPEC).merge(stranger)
    with pytest.raises(ValueError, match=r"^the state is not one of a MinMaxObserver$"):
        MinMaxObserver(SPEC).load_state_dict(HistogramObserver(SPEC).state_dict())
    assert MinMaxObserver(SPEC).state_dict()["count"] == 0
