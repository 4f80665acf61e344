"""From a range to qparams: zero is exact, and nothing inside is further off than half a step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from fxq_core.observers.qparams import MIN_SCALE, affine_qparams, bias_floor
from fxq_core.types import QSpec

SPECS = [
    QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer=""),
    QSpec(torch.uint8, 0, 127, symmetric=False, axis=None, observer=""),
    QSpec(torch.int8, -128, 127, symmetric=False, axis=None, observer=""),
    QSpec(torch.int8, -127, 127, symmetric=True, axis=None, observer=""),
    QSpec(torch.int8, -128, 127, symmetric=True, axis=None, observer=""),
]
ENDS = st.floats(-(2.0**127), 2.0**127, width=32) | st.floats(-10, 10, width=32)


def qparams_of(low: float, high: float, spec: QSpec) -> tuple[float, int]:
    return tuple(affine_qparams(torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64), spec))  # type: ignore[return-value]


@pytest.mark.parametrize("spec", SPECS)
@settings(max_examples=200, deadline=None)
@given(ends=st.tuples(ENDS, ENDS), shares=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_half_a_step_is_the_largest_error_inside(spec: QSpec, ends: tuple[float, float], shares: list[float]) -> None:
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    scale, zero_point = qparams_of(min(ends), max(ends), spec)
    assert scale == torch.tensor(scale, dtype=torch.float32).item() >= MIN_SCALE
    assert spec.qmin <= zero_point <= spec.qmax  # so that 0 has a code, exactly
    for value in (0.0, low, high, *(low + share * (high - low) for share in shares)):
        code = min(max(round(value / scale) + zero_point, spec.qmin), spec.qmax)
        # float32 holds a scale to 6e-8, which 255 steps may add up
        assert abs((code - zero_point) * scale - value) <= scale * (0.5 + 2e-5)


@pytest.mark.parametrize("spec", SPECS)
@given(ends=st.tuples(ENDS, ENDS))
def test_a_step_is_no_wider_than_needed(spec: QSpec, ends: tuple[float, float]) -> None:
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    steps = 127 if spec.symmetric else spec.qmax - spec.qmin
    span = max(-low, high) if spec.symmetric else high - low
    if ends[0] == ends[1] and not spec.symmetric:
        # one value alone is exact, a power of two of steps away from 0
        steps = 64 if steps == 127 else 128
    scale, zero_point = qparams_of(min(ends), max(ends), spec)
    assert scale == pytest.approx(max(span / steps, MIN_SCALE), rel=1e-6)
    if spec.symmetric:
        assert zero_point == 0


def test_ranges_on_one_side_are_widened_to_zero() -> None:
    assert qparams_of(2.0, 255.0, SPECS[0]) == (1.0, 0)
    assert qparams_of(-255.0, -2.0, SPECS[0]) == (1.0, 255)
    assert qparams_of(0.0, 0.0, SPECS[0]) == (MIN_SCALE, 0)
    assert qparams_of(-128.0, 127.0, SPECS[2]) == (1.0, 0)


def test_halves_round_to_even() -> None:
    assert qparams_of(-0.5, 254.5, SPECS[0]) == (1.0, 0)
    assert qparams_of(-1.5, 253.5, SPECS[0]) == (1.0, 2)


def test_one_row_per_channel() -> None:
    spec = QSpec(torch.int8, -127, 127, symmetric=True, axis=0, observer="")
    found = affine_qparams(torch.tensor([-1.0, 0.0, -3.0]).double(), torch.tensor([2.0, 0.0, 1.0]).double(), spec)
    assert (found.scale.dtype, found.zero_point.dtype) == (torch.float32, torch.int64)
    assert found.scale.tolist() == pytest.approx([2 / 127, MIN_SCALE, 3 / 127])
    assert found.zero_point.tolist() == [0, 0, 0]
    assert (found.qmin, found.qmax) == (-127, 127)


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.floats(MIN_SCALE, 2.0**100))
def test_a_bias_fits_the_accumulator(bias: float, input_scale: float) -> None:
    floor = bias_floor(torch.tensor([bias]), input_scale).item()
    assert math.isfinite(floor)
    assert floor == 0 or abs(bias) / (input_scale * floor) <= 2.0**30 * (1 + 1e-9)
