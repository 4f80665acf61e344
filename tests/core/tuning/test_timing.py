"""What counts as the time of a step: every call of it, what it costs the next one, no difference within its error."""

from __future__ import annotations

import pytest

import fxq_core as fxq
from fxq_core.tuning.timing import Site
from fxq_core.tuning.tune import tune_with

from support.tuning import US, Clock, Twice, X, chain, choices, tunable, tuned


def test_what_a_way_costs_the_next_step_counts() -> None:
    clock = Clock()
    times = {path: {"slow": 50.0, "fast": 30.0} for path in "012"}
    report = tuned(tunable(chain(), clock, times, debts={"fast": 25.0}), clock)
    assert report.steps[0].times == (("slow", 50.0), ("fast", 55.0))
    # nothing follows the last one
    assert choices(report) == {"0": "slow", "1": "slow", "2": "fast"}


def test_a_difference_within_its_error_is_none() -> None:
    site = Site("step")
    site.own = [10.0 * US] * 5
    site.spans["one"] = [18.0 * US, 19.0 * US, 20.0 * US, 21.0 * US, 22.0 * US]
    site.spans["near"] = [time - 1.0 * US for time in site.spans["one"]]
    site.spans["far"] = [time - 4.0 * US for time in site.spans["one"]]
    costs = site.costs("one")
    error = 1.2533 * 1.4826 * 1.0 / 5**0.5
    assert costs == pytest.approx({"one": 10.0, "near": 10.0, "far": 10.0 - 4.0 + 2 * 2**0.5 * error})


def test_all_calls_of_a_layer_count() -> None:
    clock = Clock()
    qmodel = tunable(Twice(), clock, {"0": {"slow": 5.0, "fast": 3.0}})
    report = tune_with(qmodel, ((X,), {"times": 3}), fxq.TuneCache(), clock)
    assert report.steps == (fxq.TunedStep("inner.0", "Ways", (("slow", 15.0), ("fast", 9.0)), "fast"),)
