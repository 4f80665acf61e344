"""What can't be ranked, and what is told of it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq

from support.analysis import calibrated, int8_of, ranked
from support.exact import MINMAX, X, chain


class Winner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = chain()[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).argmax(-1)


def fail(model: nn.Module) -> float:
    raise KeyError("labels")


SAID = "it is called with a model and returns a number, the higher the better"
ERRORS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no batch": (
        [],
        None,
        fxq.CalibrationError,
        "there is no batch to measure SQNR on; give an iterable of at least one, or pass metric=",
    ),
    "a lone tensor": (
        X,
        None,
        fxq.CalibrationError,
        "batches is a Tensor, not an iterable of batches; for one batch pass [batch]",
    ),
    "no function": (
        [X],
        0.5,
        fxq.ConfigError,
        "metric is 0.5; pass a function that takes a model and returns a number, the higher the better",
    ),
    "it fails": ([X], fail, fxq.ConfigError, f"metric failed on the float model with KeyError: 'labels'; {SAID}"),
    "it gives text": (
        [X],
        lambda m: "good",
        fxq.ConfigError,
        f"metric failed on the float model with ValueError: could not convert string to float: 'good'; {SAID}",
    ),
    "it gives NaN": (
        [X],
        lambda m: math.nan if int8_of(m) == {"_1"} else 1.0,
        fxq.ConfigError,
        "metric gave nan for the model with _1 in int8, which is no number to compare; mend the metric",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str, core: fxq.Registry) -> None:
    batches, metric, kind, text = ERRORS[name]
    with pytest.raises(kind) as caught:
        fxq.sensitivity(calibrated(chain(), core, X), batches, metric)
    assert str(caught.value) == text


def test_a_float_model_needs_a_batch_and_a_quantizer_with_a_metric_none(core: fxq.Registry) -> None:
    with pytest.raises(fxq.CalibrationError) as caught:
        fxq.sensitivity(chain(), iter(()), int8_share, engine="reference", registry=core)
    assert str(caught.value) == "there is no batch to calibrate with; give an iterable of at least one batch"
    assert [row.score for row in fxq.sensitivity(calibrated(chain(), core, X), (), int8_share).rows] == [-1, -1, -1]


def int8_share(model: nn.Module) -> float:
    return -len(int8_of(model))


def test_fxqs_own_errors_pass_through_a_metric(core: fxq.Registry) -> None:
    with pytest.raises(fxq.FxqError) as caught:
        ranked(chain(), core, X, metric=lambda model: fxq.report(nn.ReLU()))
    assert str(caught.value) == "ReLU holds no report; pass what quantize() returned"


def test_a_quantizer_that_was_not_calibrated(core: fxq.Registry) -> None:
    with pytest.raises(fxq.CalibrationError) as caught:
        fxq.sensitivity(fxq.Quantizer(chain(), X, "reference", registry=core), [X])
    assert str(caught.value) == "the model was never calibrated; run calibrate(batches) or observe(batch) first"


@pytest.mark.parametrize("given", ["engine", "config", "registry"])
def test_a_quantizer_has_its_own_settings(given: str, core: fxq.Registry) -> None:
    settings: Any = {given: {"engine": "reference", "config": MINMAX, "registry": core}[given]}
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.sensitivity(calibrated(chain(), core, X), [X], **settings)
    assert str(caught.value) == f"{given}= has no effect on a Quantizer, which has its own; give it to the Quantizer"


def test_an_output_without_floats(core: fxq.Registry) -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        ranked(Winner().eval(), core, X)
    assert str(caught.value) == "the model returns no float tensor whose SQNR could be measured; pass metric="
    assert ranked(Winner().eval(), core, X, metric=lambda model: 1.0).reference == 1.0
