"""Medians, quartiles and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TypedDict

# of one system: a time per round, None where it sat one out
Times = Sequence[float | None]


class Spread(TypedDict):
    """A median with its quartiles, and how many values they are of."""

    median: float
    q1: float
    q3: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    first, median, third = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": significant(median), "q1": significant(first), "q3": significant(third), "n": len(values)}


def significant(value: float, digits: int = 4) -> float:
    """Rounded: more digits would say more than was measured."""
    return float(f"{value:.{digits}g}")


def ratios(times: Mapping[str, Times], baseline: str) -> dict[str, list[float]]:
    """Of each system, its time by the baseline's in the rounds of both: above 1 where the baseline is faster."""
    return {
        system: [
            mine / base
            for mine, base in zip(own, times[baseline], strict=True)
            if mine is not None and base is not None
        ]
        for system, own in times.items()
    }


def cells(times: Mapping[str, Times], baseline: str) -> dict[str, dict[str, Spread]]:
    """Of each system, its time and, where the baseline ran, its ratio."""
    found = {
        system: {"ms": spread(ran)}
        for system, own in times.items()
        if (ran := [time for time in own if time is not None])
    }
    if baseline in found:
        for system, values in ratios(times, baseline).items():
            if values:
                found[system]["ratio"] = spread(values)
    return found


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of the line of least squares."""
    return statistics.linear_regression(xs, ys).slope
