"""The self-test of an engine: what it says of one that works, of one that is coarse, and of one that is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import fxq_core as fxq
from fxq_core.cli.selftest import Outcome, self_test
from fxq_core.reference import REFERENCE

from support.distributions import load


class Engines:
    """Engines that are the reference engine in another form."""

    @fxq.hookimpl
    def fxq_engines(self) -> Iterator[fxq.Engine]:
        yield dataclasses.replace(REFERENCE, name="twin")
        coarse = dataclasses.replace(REFERENCE.activation, qmax=63)
        yield dataclasses.replace(REFERENCE, name="coarse", activation=coarse)
        yield dataclasses.replace(REFERENCE, name="broken", finish=lambda module: Scaled(module, 0.5))
        yield dataclasses.replace(REFERENCE, name="blank", finish=lambda module: Scaled(module, float("nan")))
        yield dataclasses.replace(REFERENCE, name="other", family="other")

    @fxq.hookimpl
    def fxq_lowerings(self) -> Iterator[fxq.Lowering]:
        for lowering in load().lowerings.values():
            if lowering.pattern not in ("linear", "*"):
                yield dataclasses.replace(lowering, engine="other")


class Scaled(torch.nn.Module):
    def __init__(self, module: torch.nn.Module, factor: float) -> None:
        super().__init__()
        self.module, self.factor = module, factor

    def forward(self, *args: Any) -> Any:
        return self.module(*args) * self.factor


@pytest.fixture(scope="module")
def registry() -> fxq.Registry:
    return load(plugins=(Engines(),))


def test_an_engine_that_works_is_the_same(registry: fxq.Registry) -> None:
    outcome = self_test(registry, "twin")
    assert (str(outcome), outcome.fault) == ("the same as the reference engine", False)


def test_the_reference_engine_is_compared_with_float(registry: fxq.Registry) -> None:
    outcome = self_test(registry, "reference")
    assert (outcome.expected, outcome.floats, outcome.fault) == ("float", (), False)
    assert 30 < outcome.sqnr < 60
    assert str(outcome) == f"SQNR {outcome.sqnr:.1f} dB to float"


def test_a_coarse_engine_is_no_broken_one(registry: fxq.Registry) -> None:
    outcome = self_test(registry, "coarse")
    assert 20 < outcome.sqnr < 40
    assert not outcome.fault


def test_a_broken_one_is_a_fault(registry: fxq.Registry) -> None:
    outcome = self_test(registry, "broken")
    # half of the signal is missing, which is 20 log10(2) dB
    assert outcome.sqnr == pytest.approx(6.0206, abs=1e-3)
    assert (str(outcome), outcome.fault) == ("SQNR 6.0 dB to the reference engine", True)


def test_numbers_that_are_none_are_a_fault(registry: fxq.Registry) -> None:
    assert self_test(registry, "blank").fault


def test_what_it_leaves_in_float_is_named(registry: fxq.Registry) -> None:
    assert self_test(registry, "other").floats == ("Flatten", "Linear")
    assert str(Outcome(41.26, "float", ("Linear", "Flatten"))) == "SQNR 41.3 dB to float; Linear, Flatten in float"


def test_the_random_state_is_left_alone(registry: fxq.Registry) -> None:
    state = torch.get_rng_state()
    self_test(registry, "twin")
    assert torch.equal(torch.get_rng_state(), state)
