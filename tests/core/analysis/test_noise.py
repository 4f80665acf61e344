"""The numbers that say how far two tensors are apart."""

from __future__ import annotations

import math

import pytest
import torch

from fxq_core.analysis.noise import Noise, cosine, float_leaves, largest_error, sqnr

X = torch.tensor([3.0, 4.0])
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("expected", "result", "decibels"),
    [
        ([3.0, 4.0], [3.0, 4.0], INF),
        ([0.0, 0.0], [0.0, 0.0], INF),
        ([], [], INF),
        ([0.0, 0.0], [3.0, 4.0], -INF),
        ([3.0, 4.0], [0.0, 0.0], 0.0),
        ([30.0, 40.0], [33.0, 44.0], 20.0),
        ([3.0, NAN], [3.0, 4.0], -INF),
        ([3.0, 4.0], [NAN, 4.0], -INF),
        ([3.0, 4.0], [INF, 4.0], -INF),
        # as masks are
        ([30.0, -INF, 40.0], [33.0, -INF, 44.0], 20.0),
    ],
)
def test_sqnr(expected: list[float], result: list[float], decibels: float) -> None:
    assert sqnr(torch.tensor(expected), torch.tensor(result)) == decibels


def test_sqnr_is_over_all_float_tensors_of_an_output() -> None:
    expected = {"a": torch.tensor([30.0]), "b": (torch.tensor([40.0]), torch.tensor([7])), "c": "text"}
    result = {"a": torch.tensor([33.0]), "b": (torch.tensor([44.0]), torch.tensor([9])), "c": "text"}
    assert sqnr(expected, result) == 20.0
    assert [leaf.tolist() for leaf in float_leaves(expected)] == [[30.0], [40.0]]


def test_noise_adds_up() -> None:
    noise = Noise()
    assert noise.sqnr == INF
    noise.add(torch.tensor([30.0]), torch.tensor([33.0]))
    noise.add(torch.tensor([[40.0]], dtype=torch.float64), torch.tensor([[44.0]]))
    assert noise.sqnr == 20.0


@pytest.mark.parametrize(
    ("result", "angle"),
    [
        ([3.0, 4.0], 1.0),
        ([-3.0, -4.0], -1.0),
        ([4.0, -3.0], 0.0),
        ([4.0, 3.0], 0.96),
        ([0.0, 0.0], 0.0),
        ([NAN, 4.0], 0.0),
        ([INF, 4.0], 0.0),
    ],
)
def test_cosine(result: list[float], angle: float) -> None:
    assert cosine(X, torch.tensor(result)) == angle


def test_the_cosine_of_equals_is_one() -> None:
    assert cosine(torch.zeros(2), torch.zeros(2)) == 1.0
    assert cosine(torch.tensor([-math.inf, 3.0]), torch.tensor([-math.inf, 3.0])) == 1.0


@pytest.mark.parametrize(
    ("result", "error"),
    [([3.0, 4.0], 0.0), ([3.5, 1.0], 3.0), ([NAN, 4.0], INF), ([-INF, 4.0], INF)],
)
def test_largest_error(result: list[float], error: float) -> None:
    assert largest_error(X, torch.tensor(result)) == error


def test_nothing_is_no_error() -> None:
    assert largest_error(torch.zeros(0, 3), torch.zeros(0, 3)) == 0.0
