from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given, strategies as st

from fxq_core.exact import ExactSum

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def summed(terms: list[torch.Tensor]) -> ExactSum:
    found = ExactSum()
    for term in terms:
        found.add(term)
    return found


def value(found: ExactSum) -> torch.Tensor:
    return torch.as_tensor(found.total(), dtype=torch.float64)


def equal(one: ExactSum, other: ExactSum) -> bool:
    return one.digits.keys() == other.digits.keys() and all(
        torch.equal(digit, other.digits[exponent]) for exponent, digit in one.digits.items()
    )


@given(st.lists(FLOATS, max_size=20), st.randoms(use_true_random=False))
def test_neither_order_nor_grouping_matters(numbers: list[float], chance: random.Random) -> None:
    terms = [torch.tensor([number, 1.0], dtype=torch.float64) for number in numbers]
    expected = summed(terms)
    chance.shuffle(terms)
    cut = chance.randint(0, len(terms))
    merged = summed(terms[:cut])
    merged.merge(summed(terms[cut:]))
    assert equal(merged, expected)


@given(st.lists(FLOATS, min_size=1, max_size=20))
def test_the_sum_is_that_of_the_terms(numbers: list[float]) -> None:
    found = value(summed([torch.tensor(number, dtype=torch.float64) for number in numbers])).item()
    # rounded a few times on the way out, but from digits that are exact
    assert found == pytest.approx(math.fsum(numbers), rel=2.0**-48, abs=2.0**-160)


def test_what_cancels_is_gone() -> None:
    terms = [torch.tensor([number], dtype=torch.float64) for number in (1e30, 2.0**-140, 3.0, -1e30, -3.0)]
    assert value(summed(terms)).tolist() == [2.0**-140]


def test_nothing_adds_up_to_nothing() -> None:
    assert ExactSum().total() == 0
    assert summed([torch.zeros(3, dtype=torch.float64), torch.empty(0, dtype=torch.float64)]).digits == {}


def test_a_sum_goes_on_from_its_digits_and_leaves_them() -> None:
    first = summed([torch.tensor([1.0, 2.0], dtype=torch.float64)])
    kept = dict(first.digits)
    second = ExactSum(first.digits)
    second.add(torch.tensor([1.0, 1.0], dtype=torch.float64))
    assert value(second).tolist() == [2.0, 3.0]
    assert equal(first, ExactSum(kept))
    assert value(first).tolist() == [1.0, 2.0]
