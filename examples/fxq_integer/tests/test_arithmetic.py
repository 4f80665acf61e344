"""Ops without weights against fractions: the nearest code, and how far from it each op can be."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st

from fxq_integer import arithmetic

CODES = torch.arange(256, dtype=torch.uint8)
SCALES = st.floats(2.0**-10, 2.0, width=32)
ZEROS = st.integers(0, 255)


def values(scale: float, zero_point: int) -> list[Fraction]:
    return [(code - zero_point) * Fraction(scale) for code in range(256)]


def check(codes: torch.Tensor, wanted: list[Fraction], scale: float, zero_point: int, error: Fraction) -> None:
    """Each code is at most half a code from the exact value, plus an error; or saturated."""
    for code, value in zip(codes.flatten().tolist(), wanted, strict=True):
        exact = value / Fraction(scale) + zero_point
        assert abs(code - min(max(exact, Fraction(0)), Fraction(255))) <= Fraction(1, 2) + error


@settings(max_examples=30, deadline=None)
@given(SCALES, ZEROS, SCALES, ZEROS, SCALES, ZEROS, st.sampled_from([1, -1]))
def test_sums_are_nearest_but_for_the_digits_that_are_kept(
    x_scale: float, x_zero: int, y_scale: float, y_zero: int, scale: float, zero_point: int, sign: int
) -> None:
    y = CODES.roll(77)
    result = arithmetic.add(CODES, x_scale, x_zero, y, y_scale, y_zero, scale, zero_point, sign=sign)
    xs, ys = values(x_scale, x_zero), values(y_scale, y_zero)
    wanted = [a + sign * ys[code] for a, code in zip(xs, y.tolist(), strict=True)]
    # each operand is off by at most half of 2**-20 of the common scale, and by what the multiplier is
    error = Fraction(2 * max(x_scale, y_scale)) / Fraction(scale) / 2**19 + Fraction(1, 2**16)
    check(result, wanted, scale, zero_point, error)


@settings(max_examples=30, deadline=None)
@given(SCALES, ZEROS, SCALES, ZEROS, SCALES, ZEROS)
def test_products_are_nearest(
    x_scale: float, x_zero: int, y_scale: float, y_zero: int, scale: float, zero_point: int
) -> None:
    y = CODES.roll(77)
    result = arithmetic.multiply(CODES, x_scale, x_zero, y, y_scale, y_zero, scale, zero_point)
    xs, ys = values(x_scale, x_zero), values(y_scale, y_zero)
    check(result, [a * ys[c] for a, c in zip(xs, y.tolist(), strict=True)], scale, zero_point, Fraction(1, 2**16))


@settings(max_examples=30, deadline=None)
@given(SCALES, ZEROS, SCALES, ZEROS)
def test_rescaled_codes_are_nearest(x_scale: float, x_zero: int, scale: float, zero_point: int) -> None:
    result = arithmetic.rescale(CODES, x_scale, x_zero, scale, zero_point)
    check(result, values(x_scale, x_zero), scale, zero_point, Fraction(1, 2**16))


def test_concatenation_rescales_only_who_differs() -> None:
    same, other = torch.tensor([[1, 2]], dtype=torch.uint8), torch.tensor([[10, 20]], dtype=torch.uint8)
    result = arithmetic.concatenate([same, other], [(0.5, 3), (1.0, 0)], 1, 0.5, 3)
    assert result.tolist() == [[1, 2, 23, 43]]


def test_limits_end_a_sum_and_a_product() -> None:
    x = torch.tensor([0, 10, 200], dtype=torch.uint8)
    own = (1.0, 10)
    assert arithmetic.add(x, *own, x, *own, *own, 0.0, 6.0).tolist() == [10, 10, 16]
    assert arithmetic.multiply(x, *own, x, *own, *own, -math.inf, 50.0).tolist() == [60, 10, 60]
    assert arithmetic.clamp(x, *own, -1.0, 6.0).tolist() == [9, 10, 16]


@given(st.integers(1, 5), st.integers(1, 5), ZEROS, st.integers(0, 2**31))
def test_averages_are_quotients_of_integers(height: int, width: int, zero_point: int, seed: int) -> None:
    x = torch.randint(0, 256, (1, 3, height, width), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    # Python rounds a fraction's half to even
    wanted = [round(Fraction(int(x[0, c].long().sum()), height * width) - zero_point) + zero_point for c in range(3)]
    own = arithmetic.distances(x, zero_point)
    for floats in (
        F.adaptive_avg_pool2d(own, 1),
        F.avg_pool2d(own, (height, width)),
        own.mean((2, 3)),
        F.adaptive_avg_pool2d(own.contiguous(memory_format=torch.channels_last), 1),
    ):
        assert arithmetic.nearest(floats, zero_point).flatten().tolist() == wanted


def test_a_table_is_looked_up() -> None:
    table = CODES.flip(0)
    assert torch.equal(arithmetic.look_up(CODES.reshape(4, 64), table), (255 - CODES).reshape(4, 64))
