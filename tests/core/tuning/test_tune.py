"""Tuning with steps whose times are made up: what is chosen, what is told, and what stays as it was."""

from __future__ import annotations

import copy
import sys
import types
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.reference import fake_quantize
from fxq_core.tuning.cache import machine
from fxq_core.tuning.race import race
from fxq_core.tuning.timing import Site
from fxq_core.tuning.tune import tune_with

from support.quantizing import INSTALLED, quantized, run

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
US = 1e-6


class Clock:
    """Goes on only when a step is computed; ``debt`` is what the last step leaves the next one to pay."""

    def __init__(self) -> None:
        self.now = self.debt = 0.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now

    def __deepcopy__(self, memo: object) -> Clock:
        return self


class Ways(nn.Module):
    """A linear layer that takes as long as it is told, in each of its ways."""

    def __init__(self, layer: nn.Linear, times: dict[str, float], clock: Clock, debts: dict[str, float]) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(layer.weight.detach()), nn.Parameter(layer.bias.detach())
        self.times, self.clock, self.debts, self.way = times, clock, debts, next(iter(times))

    def fxq_alternatives(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.way, *self.times)))

    def fxq_use(self, name: str) -> None:
        self.way = name

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} to {self.weight.shape[0]}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.clock.now += (self.times[self.way] + self.clock.debt) * US
        self.clock.debt = self.debts.get(self.way, 0.0)
        return F.linear(x, self.weight, self.bias)


def tunable(
    model: nn.Module, clock: Clock, times: dict[str, dict[str, float]], debts: dict[str, float] | None = None
) -> Any:
    """Quantize with ``Ways`` for the linear layers, their times by path."""

    def emit(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        layer: Any = match.modules[0]
        module = Ways(layer, times[str(match.nodes[0].target)], clock, debts or {})
        return ctx.call(fake_quantize, ctx.module(module, ctx.inputs[0]), *ctx.output, 0, 255)

    lowering = fxq.Lowering(engine="reference", pattern="linear", emit=emit, priority=1)
    plugin = types.SimpleNamespace(__name__="acme", fxq_lowerings=fxq.hookimpl(lambda: [lowering]))
    plugin.fxq_lowerings.__name__ = "fxq_lowerings"
    registry = fxq.load_plugins(plugins=[plugin], block=INSTALLED, strict=True)
    return fxq.quantize(model.eval(), [X], "reference", registry=registry)


def chain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 7))


TIMES = {
    "0": {"slow": 30.0, "fast": 10.0},
    "1": {"slow": 40.0, "fast": 50.0, "other": 20.0},
    "2": {"slow": 100.0, "fast": 98.0},
}


def tuned(qmodel: nn.Module, clock: Clock, cache: fxq.TuneCache | None = None) -> fxq.TuneReport:
    return tune_with(qmodel, ((X,), {}), fxq.TuneCache() if cache is None else cache, clock)


def choices(report: fxq.TuneReport) -> dict[str, str]:
    return {step.module: step.choice for step in report.steps}


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


class Twice(nn.Module):
    """One layer that is called twice, under a root that can't be traced, with an argument given by name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x: torch.Tensor, *, times: int = 1) -> torch.Tensor:
        for _ in range(times if x.sum() < 1e9 else 0):
            x = self.inner(x)
        return x


def test_all_calls_of_a_layer_count() -> None:
    clock = Clock()
    qmodel = tunable(Twice(), clock, {"0": {"slow": 5.0, "fast": 3.0}})
    report = tune_with(qmodel, ((X,), {"times": 3}), fxq.TuneCache(), clock)
    assert report.steps == (fxq.TunedStep("inner.0", "Ways", (("slow", 15.0), ("fast", 9.0)), "fast"),)


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


def test_a_race_has_a_winner() -> None:
    clock = Clock()
    models = tuple(tunable(nn.Sequential(nn.Linear(4, 4)), clock, {"0": {"way": time}}) for time in (3.0, 2.0))
    assert race(models, ((X,), {}), clock) == pytest.approx((3.0 * US, 2.0 * US))


@pytest.mark.parametrize(("times", "patterns"), [((1.0, 2.0), {"linear"}), ((2.0, 1.0), set())])
def test_a_config_tunes_and_float_may_win(
    times: tuple[float, ...], patterns: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["fxq_core.tuning.whole"], "race", lambda *_: times)
    config = fxq.Config(tune=True)
    if patterns:
        qmodel = quantized(chain(), X, config=config)
        assert fxq.report(qmodel).tuning == fxq.TuneReport(machine(), ())
    else:
        with pytest.warns(fxq.NothingQuantizedWarning):
            qmodel = quantized(chain(), X, config=config)
        assert torch.allclose(run(qmodel, X), run(chain(), X))
        reason = "the whole model is faster in float on this machine"
        assert {row.reason for row in fxq.report(qmodel).rows if row.op == "Linear"} == {reason}
    assert {row.pattern for row in fxq.report(qmodel).rows if row.quantized} == patterns
