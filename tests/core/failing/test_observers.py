"""An observer that fails: who and where is told, and the batch counts nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.observers import MinMaxObserver
from fxq_core.reference import REFERENCE

from support.distributions import load
from support.failing import X, plugin
from support.quantizing import untouched


class Failing(MinMaxObserver):
    fail = ""

    def __init__(self, spec: fxq.QSpec) -> None:
        super().__init__(spec)
        if self.fail == "build":
            raise KeyError("bins")

    def update(self, value: torch.Tensor, low: float, high: float) -> None:
        if self.fail == "observe":
            raise KeyError("bins")
        super().update(value, low, high)

    def range(self) -> tuple[Any, Any]:
        if self.fail == "range":
            raise KeyError("bins")
        return super().range()


@pytest.mark.parametrize("stage", ["build", "observe", "range"])
@pytest.mark.parametrize("what", ["activation", "weight"])
def test_an_observer_that_fails_is_named(net: nn.Module, stage: str, what: str) -> None:
    observer = type("Observer", (Failing,), {"fail": stage})
    spec = replace(getattr(REFERENCE, what), observer="acme-range")
    engine = replace(REFERENCE, name="tpu", **{what: spec})
    made = plugin(fxq_observers=[fxq.ObserverSpec("acme-range", observer)], fxq_engines=[engine])
    with untouched(net, X), pytest.raises(fxq.PluginError) as caught:
        fxq.quantize(net, [X], "tpu", registry=load(plugins=(made,), strict=False))
    where = "node 'x'" if what == "activation" else "the weight of node 'first'"
    assert str(caught.value) == (
        f"acme: observer 'acme-range' failed at {where} with KeyError: 'bins'; "
        "take another with Config(rules=(Rule(...),)) until the plugin is mended"
    )
    assert type(caught.value.__cause__) is KeyError


class Shapeless(MinMaxObserver):
    def qparams(self) -> Any:
        return 0.5, 3


def leaving(spec: fxq.QSpec) -> Any:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda spec: 5, "TypeError: it gave 5, which is no Observer"),
        (Shapeless, "TypeError: it gave (0.5, 3), which is no QParams"),
        (leaving, "SystemExit: 0"),
    ],
)
def test_an_observer_that_is_none_is_named(net: nn.Module, build: Any, why: str) -> None:
    engine = replace(REFERENCE, name="tpu", activation=replace(REFERENCE.activation, observer="acme-range"))
    made = plugin(fxq_observers=[fxq.ObserverSpec("acme-range", build)], fxq_engines=[engine])
    with untouched(net, X), pytest.raises(fxq.PluginError) as caught:
        fxq.quantize(net, [X], "tpu", registry=load(plugins=(made,)))
    assert str(caught.value) == (
        f"acme: observer 'acme-range' failed at node 'x' with {why}; "
        "take another with Config(rules=(Rule(...),)) until the plugin is mended"
    )


def test_a_batch_at_which_an_observer_fails_counts_nowhere(net: nn.Module) -> None:
    class Second(MinMaxObserver):
        def update(self, value: torch.Tensor, low: float, high: float) -> None:
            if high > 90:
                raise KeyError("bins")
            super().update(value, low, high)

    engine = replace(REFERENCE, name="tpu", activation=replace(REFERENCE.activation, observer="acme-range"))
    made = plugin(fxq_observers=[fxq.ObserverSpec("acme-range", Second)], fxq_engines=[engine])
    q = fxq.Quantizer(net, X, "tpu", registry=load(plugins=(made,))).calibrate([X])
    state = repr(q.prepared.state_dict())
    with pytest.raises(fxq.PluginError):
        q.observe(X * 1000)
    assert (q.batches, repr(q.prepared.state_dict())) == (1, state)
