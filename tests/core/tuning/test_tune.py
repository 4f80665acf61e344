"""Tuning with steps whose times are made up: what is chosen, what is told, and what stays as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.tuning.cache import machine

from support.quantizing import run
from support.tuning import TIMES, Clock, Twice, X, chain, choices, tunable, tuned


def test_each_step_gets_its_fastest_way() -> None:
    clock = Clock()
    qmodel = tunable(chain(), clock, TIMES)
    before = run(qmodel, X)
    report = tuned(qmodel, clock)
    assert str(report) == (
        f"{machine()}: 2 of 3 steps changed\n"
        "module  op    times in us                       choice\n"
        "------  ----  --------------------------------  ------\n"
        "0       Ways  slow 30.0, fast 10.0              fast\n"
        "1       Ways  slow 40.0, fast 50.0, other 20.0  other\n"
        "2       Ways  slow 100.0, fast 98.0             slow"
    )
    assert [qmodel.get_submodule(path).way for path in "012"] == ["fast", "other", "slow"]
    assert torch.equal(run(qmodel, X), before)
    assert fxq.report(qmodel).tuning == report


@pytest.mark.parametrize(("fast", "choice"), [(97.1, "slow"), (96.9, "fast")])
def test_three_percent_must_be_gained(fast: float, choice: str) -> None:
    clock = Clock()
    times = {"0": {"slow": 100.0, "fast": fast}}
    assert choices(tuned(tunable(nn.Sequential(nn.Linear(4, 4)), clock, times), clock)) == {"0": choice}


@pytest.mark.parametrize(("fast", "choice"), [(4.1, "slow"), (3.9, "fast")])
def test_a_microsecond_must_be_gained(fast: float, choice: str) -> None:
    clock = Clock()
    times = {"0": {"slow": 5.0, "fast": fast}}
    assert choices(tuned(tunable(nn.Sequential(nn.Linear(4, 4)), clock, times), clock)) == {"0": choice}


def test_what_is_known_is_not_timed_again() -> None:
    clock, cache = Clock(), fxq.TuneCache()
    qmodel = tunable(chain(), clock, TIMES)
    twin = copy.deepcopy(qmodel)
    report = tuned(qmodel, clock, cache)
    asked = clock.asked
    assert tuned(twin, clock, fxq.TuneCache(cache.times)) == report
    assert clock.asked == asked
    assert [twin.get_submodule(path).way for path in "012"] == ["fast", "other", "slow"]


def test_times_hold_for_one_machine_and_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cache = Clock(), fxq.TuneCache()
    tuned(tunable(chain(), clock, TIMES), clock, cache)
    asked = clock.asked
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    report = tuned(tunable(chain(), clock, TIMES), clock, cache)
    assert clock.asked > asked
    assert ", 77 threads, torch " in report.machine
    assert len(cache.times) == 2
    assert repr(cache) == "TuneCache(6 steps on 2 machines)"


def test_the_way_in_use_is_the_one_to_beat() -> None:
    clock, cache = Clock(), fxq.TuneCache()
    qmodel = tunable(chain(), clock, TIMES)
    tuned(qmodel, clock, cache)
    again = tuned(qmodel, clock, cache)
    assert [step.times[0][0] for step in again.steps] == ["fast", "other", "slow"]
    assert str(again).startswith(f"{machine()}: 0 of 3 steps changed\n")


def test_tune_takes_positional_and_keyword_arguments() -> None:
    qmodel = tunable(Twice(), Clock(), {"0": {"only": 5.0}})
    assert fxq.tune(qmodel, X, kwargs={"times": 2}).steps == ()
    assert str(fxq.tune(qmodel, X)) == f"{machine()}: 0 of 0 steps changed"


def test_a_model_that_was_not_quantized_is_refused() -> None:
    with pytest.raises(fxq.FxqError) as caught:
        fxq.tune(nn.Linear(4, 4), X)
    assert str(caught.value) == "Linear holds no report; pass what quantize() returned"


def test_inputs_that_the_model_refuses_change_nothing() -> None:
    clock = Clock()
    qmodel = tunable(chain(), clock, TIMES)
    before = run(qmodel, X)
    with pytest.raises(fxq.InputError) as caught:
        fxq.tune(qmodel, X, X)
    assert str(caught.value) == (
        "QuantizedModule refused the example inputs (TypeError: too many positional arguments); tune it with inputs "
        "like those that it will be called with"
    )
    assert torch.equal(run(qmodel, X), before)
    assert qmodel.get_submodule("0").way == "slow"
    assert fxq.report(qmodel).tuning is None


def test_the_state_dict_knows_nothing_of_choices() -> None:
    clock = Clock()
    qmodel = tunable(chain(), clock, TIMES)
    plain = copy.deepcopy(qmodel)
    tuned(qmodel, clock)
    plain.load_state_dict(qmodel.state_dict(), strict=True)
    assert [plain.get_submodule(path).way for path in "012"] == ["slow"] * 3
