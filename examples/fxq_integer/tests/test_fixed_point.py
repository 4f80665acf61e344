"""Multiply and shift, against Python's integers and fractions, which are exact."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, strategies as st

from fxq_integer.fixed_point import LARGEST, code_range, fixed_point, requantized, scaled

SUMS = st.integers(-(2**31), 2**31 - 1)
FACTORS = st.one_of(
    st.floats(2.0**-12, 4.0),
    st.floats(2.0**-80, 2.0**40),
    # just below and at powers of two, where the multiplier needs one bit more or less
    st.integers(-40, 30).map(lambda e: math.nextafter(2.0**e, 0.0)),
    st.integers(-40, 30).map(lambda e: 2.0**e),
)


def parts(factor: float) -> tuple[int, int]:
    multiplier, shift = fixed_point(torch.tensor(factor, dtype=torch.float64))
    return int(multiplier), int(shift)


@given(FACTORS)
def test_the_multiplier_fits_32_bits_and_is_off_by_at_most_one_part_in_two_to_the_31(factor: float) -> None:
    multiplier, shift = parts(factor)
    assert 1 <= shift <= 62
    if factor < 2.0**-32 * (1 - 2.0**-31):
        assert multiplier == 0
    else:
        wanted = Fraction(min(factor, LARGEST))
        assert 2**30 <= multiplier < 2**31
        assert abs(Fraction(multiplier, 2**shift) - wanted) <= wanted / 2**31


@given(SUMS, FACTORS)
@example(-(2**31), LARGEST)
@example(2**31 - 1, LARGEST)
@example(-(2**31), 2.0**-32)
@example(-1, 0.5)
@example(1, 0.5)
def test_scaling_is_integer_arithmetic(value: int, factor: float) -> None:
    multiplier, shift = parts(factor)
    wanted = min(max((value * multiplier + (1 << (shift - 1))) >> shift, -(2**31)), 2**31 - 1)
    result = scaled(torch.tensor([value], dtype=torch.int32), factor)
    assert (result.dtype, result.tolist()) == (torch.int32, [wanted])


@given(SUMS, st.floats(2.0**-80, LARGEST))
def test_scaling_is_the_nearest_integer_but_for_the_error_of_the_multiplier(value: int, factor: float) -> None:
    product = Fraction(value) * Fraction(factor)
    result = int(scaled(torch.tensor([value], dtype=torch.int32), factor))
    if abs(product) < 2**31 - 1:
        assert abs(result - product) <= Fraction(1, 2) + abs(product) / 2**31


@pytest.mark.parametrize(("value", "wanted"), [(3, 2), (1, 1), (-1, 0), (-3, -1), (4, 2)])
def test_halves_are_rounded_up(value: int, wanted: int) -> None:
    assert int(scaled(torch.tensor(value, dtype=torch.int32), 0.5)) == wanted


def test_each_channel_has_a_factor_of_its_own() -> None:
    factors = torch.tensor([0.5, 2.0, 2.0**-40], dtype=torch.float64)
    result = scaled(torch.full((2, 3), 100, dtype=torch.int32), factors)
    assert result.tolist() == [[50, 200, 0]] * 2


@given(SUMS, FACTORS, st.integers(0, 255))
def test_codes_saturate(value: int, factor: float, zero_point: int) -> None:
    multiplier, shift = parts(factor)
    wanted = min(max(((value * multiplier + (1 << (shift - 1))) >> shift) + zero_point, 3), 250)
    result = requantized(torch.tensor([value], dtype=torch.int32), factor, zero_point, 3, 250)
    assert (result.dtype, result.tolist()) == (torch.uint8, [wanted])


@pytest.mark.parametrize(
    ("low", "high", "codes"),
    [(-math.inf, math.inf, (0, 255)), (0.0, math.inf, (100, 255)), (0.0, 6.0, (100, 112)), (-1e30, 1e30, (0, 255))],
)
def test_the_codes_of_a_clamp(low: float, high: float, codes: tuple[int, int]) -> None:
    assert code_range(low, high, 0.5, 100) == codes
