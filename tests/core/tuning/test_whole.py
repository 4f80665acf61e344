"""A config that tunes also races the whole model against the float one, and keeps the faster."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.tuning.cache import machine
from fxq_core.tuning.race import race

from support.quantizing import quantized, run
from support.tuning import US, Clock, X, chain, tunable


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
