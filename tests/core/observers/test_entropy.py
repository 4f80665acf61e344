"""The entropy observer measures the divergence that its docstring defines, and takes the range with the least."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings, strategies as st

from fxq_core.observers import EntropyObserver
from fxq_core.observers.entropy import CANDIDATES
from fxq_core.types import QSpec

SPEC = QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="entropy")
FEW = QSpec(torch.uint8, 0, 15, symmetric=False, axis=None, observer="entropy")
FRACTIONS = st.integers(1, 64).map(lambda number: number / 64)
KINDS = ("normal", "cubed", "relu", "relu6", "positive", "negative", "sparse")


def values(kind: str) -> torch.Tensor:
    normal = torch.randn(5000, generator=torch.Generator().manual_seed(5))
    return {
        "normal": normal,
        "cubed": normal**3,
        "relu": normal.relu(),
        "relu6": (4 * normal).clamp(0, 6),
        "positive": normal.sigmoid() + 2,
        "negative": -normal.sigmoid(),
        "sparse": torch.where(normal > 1, normal, 0.0),
    }[kind]


def observed(value: torch.Tensor, spec: QSpec = SPEC) -> EntropyObserver:
    observer = EntropyObserver(spec)
    observer.observe(value)
    return observer


def divergence(observer: EntropyObserver, low: float, high: float) -> float:
    """Bin by bin, as in the docstring."""
    centers, counts = observer.centers().tolist(), observer.counts.tolist()
    if observer.zeros:
        counts[-observer.start] -= observer.zeros
    inside = [index for index, center in enumerate(centers) if low <= center <= high]
    if len(inside) < 2 or not sum(counts[index] for index in inside):
        return math.inf
    reference = {index: counts[index] for index in inside}
    reference[inside[0]] += sum(counts[: inside[0]])
    reference[inside[-1]] += sum(counts[inside[-1] + 1 :])
    top = observer.spec.qmax - observer.spec.qmin
    scale = (high - low) / top
    code = {index: min(max(round(centers[index] / scale) - round(low / scale), 0), top) for index in inside}
    shares, bins = Counter[int](), Counter[int]()
    for index in inside:
        shares[code[index]] += counts[index]
        bins[code[index]] += reference[index] > 0
    whole, kept = sum(counts), shares.total()
    filled = [index for index in inside if reference[index]]
    if not all(shares[code[index]] for index in filled):
        return math.inf
    return sum(
        reference[index] / whole * math.log(reference[index] / whole / (shares[code[index]] / bins[code[index]] / kept))
        for index in filled
    )


@pytest.mark.parametrize("spec", [SPEC, FEW], ids=["256 codes", "16 codes"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(low=FRACTIONS, high=FRACTIONS)
def test_the_divergence_is_that_of_the_definition(kind: str, spec: QSpec, low: float, high: float) -> None:
    observer = observed(values(kind), spec)
    ends = low * min(observer.low, 0.0), high * max(observer.high, 0.0)
    found = observer.divergences(*(torch.tensor([end], dtype=torch.float64) for end in ends))
    assert found.item() == pytest.approx(divergence(observer, *ends), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_candidate_for_one_end_diverges_less(kind: str) -> None:
    observer = observed(values(kind))
    low, high = observer.range()
    highs = max(observer.high, 0.0) * torch.arange(1, CANDIDATES + 1).double() / CANDIDATES
    found = observer.divergences(torch.tensor([low]).double(), torch.tensor([high]).double())
    assert found.item() == observer.divergences(torch.full_like(highs, low), highs).min()


def test_ends_without_values_are_zero() -> None:
    assert observed(values("positive")).range()[0] == 0.0
    assert observed(values("negative")).range()[1] == 0.0


def test_the_whole_range_is_taken_where_no_value_is_worth_losing() -> None:
    assert observed(torch.linspace(-2, 6, 100_000)).range() == (-2.0, 6.0)
    assert observed(torch.tensor([0.0, 1e-38])).range() == (0.0, torch.tensor(1e-38).item())


def test_an_outlier_is_given_up() -> None:
    low, high = observed(torch.cat((values("normal"), torch.tensor([25.0])))).range()
    assert -6 < low < -3
    assert 3 < high < 6


def test_zeros_do_not_count() -> None:
    value = values("sparse")
    padded = torch.cat((value, torch.zeros(100_000)))
    assert observed(padded).range() == observed(value).range()
