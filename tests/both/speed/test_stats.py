"""Medians, quartiles and ratios, by hand."""

from __future__ import annotations

import pytest

from speed.stats import cells, ratios, significant, slope, spread


def test_the_spread_of_values() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == {"median": 3, "q1": 2, "q3": 4, "n": 5}
    assert spread([1.0, 2.0]) == {"median": 1.5, "q1": 1.25, "q3": 1.75, "n": 2}


def test_one_value_has_no_spread() -> None:
    assert spread([7.0]) == {"median": 7, "q1": 7, "q3": 7, "n": 1}


def test_four_digits_are_kept() -> None:
    assert [significant(value) for value in (1.23456, 123456.0, 0.000123456)] == [1.235, 123500, 0.0001235]


def test_ratios_are_formed_within_a_round() -> None:
    times = {"base": [1.0, 2.0, 4.0], "other": [3.0, 4.0, None], "self": [None, None, None]}
    assert ratios(times, "base") == {"base": [1, 1, 1], "other": [3, 2], "self": []}


def test_a_machine_that_slows_down_does_not_change_a_ratio() -> None:
    drift = [1.0, 1.5, 9.0, 2.0]
    found = cells({"base": [2 * x for x in drift], "other": [3 * x for x in drift]}, "base")
    assert found["other"]["ratio"] == {"median": 1.5, "q1": 1.5, "q3": 1.5, "n": 4}


def test_a_system_that_sat_out_has_fewer_values() -> None:
    found = cells({"base": [1.0, 1.0, 1.0], "slow": [5.0, None, 7.0], "never": [None, None, None]}, "base")
    assert found["slow"]["ms"]["n"] == found["slow"]["ratio"]["n"] == 2
    assert found["base"]["ms"]["n"] == 3
    assert "never" not in found


def test_without_the_baseline_there_are_times_only() -> None:
    assert cells({"other": [1.0]}, "base") == {"other": {"ms": spread([1.0])}}


def test_the_slope_of_a_line() -> None:
    assert slope([5, 10, 20], [1.5, 2.5, 4.5]) == pytest.approx(0.2)
