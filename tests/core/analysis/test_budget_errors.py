"""Budgets that can't be had: what is told, and when."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.testing.photo import photo_of_model, photo_of_process

from support.analysis import exactness, floats_of, path, within
from support.exact import X, chain

NAN, INF = float("nan"), float("inf")


class Forgetful:
    """A metric that is 1 once, and 0 ever after."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: nn.Module) -> float:
        self.calls += 1
        return float(self.calls == 1)


def refusing(model: nn.Module) -> float:
    if len(floats_of(model)) == 1:
        raise RuntimeError("no labels\nat all")
    return float(len(floats_of(model)) == 3)


SAID = "it is called with a model and returns a number, the higher the better"
RANGE = "pass how far the metric may be below the float model's, 0 or more"
ERRORS: dict[str, tuple[Any, Any, str]] = {
    "no metric": (
        0.5,
        None,
        "max_drop= needs metric=, a function that takes a model and returns a number, the higher the better",
    ),
    "no max_drop": (None, exactness, "metric= has no effect without max_drop=; pass both, or neither"),
    "no function": (
        0.5,
        "accuracy",
        "metric is 'accuracy'; pass a function that takes a model and returns a number, the higher the better",
    ),
    "negative": (-1, exactness, f"max_drop is -1; {RANGE}"),
    "NaN": (NAN, exactness, f"max_drop is nan; {RANGE}"),
    "infinite": (INF, exactness, f"max_drop is inf; {RANGE}"),
    "a flag": (True, exactness, f"max_drop is True; {RANGE}"),
    "text": ("1 %", exactness, f"max_drop is '1 %'; {RANGE}"),
    "it gives NaN": (
        0.5,
        lambda model: NAN,
        "metric gave nan for the float model, which is no number to compare; mend the metric",
    ),
    "it gives infinity": (
        0.5,
        lambda model: INF,
        "metric gave inf for the float model, of which no drop can be measured; mend the metric",
    ),
    "it gives nothing": (
        0.5,
        lambda model: None,
        "metric failed on the float model with TypeError: float() argument must be a string or a real number, not "
        f"'NoneType'; {SAID}",
    ),
    "it fails on the way": (
        0.5,
        refusing,
        f"metric failed on the model with 1 of 3 kept in float with RuntimeError: no labels; {SAID}",
    ),
    "it drops by itself": (
        0.5,
        Forgetful(),
        "metric gave 0 with everything in float but 1 for the float model before, which is more than max_drop=0.5 "
        "apart; measure on the same data each time, or raise max_drop",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str, core: fxq.Registry) -> None:
    max_drop, metric, text = ERRORS[name]
    model, before = chain(), photo_of_process()
    photo = photo_of_model(model)
    with pytest.raises(fxq.ConfigError) as caught:
        within(core, metric, max_drop, model=model)
    assert str(caught.value) == text
    assert photo.changes(photo_of_model(model)) == before.changes(photo_of_process()) == []


def test_settings_are_refused_before_any_work(core: fxq.Registry) -> None:
    batches = iter([X])
    with pytest.raises(fxq.ConfigError):
        within(core, None, 0.5, batches=batches)
    assert len(list(batches)) == 1


def test_an_interrupt_is_no_failure_of_the_metric(core: fxq.Registry) -> None:
    def interrupted(model: nn.Module) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        within(core, interrupted)


def test_a_model_with_nothing_in_int8_has_an_empty_path_and_warns_once(core: fxq.Registry) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", fxq.NothingQuantizedWarning)
        qmodel = within(core, lambda model: 1.0, model=nn.Sequential(nn.Softmax(-1)).eval())
    assert [warning.category for warning in told] == [fxq.NothingQuantizedWarning]
    assert path(qmodel) == [((), 1.0, True)]


def test_nothing_to_give_up_and_still_out_of_budget(core: fxq.Registry) -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        within(core, Forgetful(), 0.5, model=nn.Sequential(nn.Softmax(-1)).eval())
    assert str(caught.value).startswith("metric gave 0 with everything in float but 1 for the float model before")


def test_a_budget_holds_for_what_is_not_tuned_afterwards(core: fxq.Registry) -> None:
    batch = torch.zeros(1, 3, 4, 4)
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.quantize(nn.Flatten(), [batch], "reference", fxq.Config(tune=True), core, max_drop=0.5, metric=exactness)
    assert str(caught.value) == (
        "max_drop= holds for the model as measured, and Config(tune=True) may round it otherwise; "
        "call fxq_core.tune(qmodel, *inputs) on the result, and measure again"
    )
