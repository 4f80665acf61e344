"""An engine that fails to become active or to finish the module: it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import nn

import fxq_core as fxq
from fxq_core.reference import REFERENCE

from support.distributions import load
from support.failing import X, plugin
from support.quantizing import untouched


def raising(module: nn.Module) -> nn.Module:
    raise KeyError("opset")


def exiting(module: nn.Module) -> nn.Module:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("finish", "why"),
    [
        (raising, "KeyError: 'opset'"),
        (exiting, "SystemExit: 0"),
        (lambda module: 3, "TypeError: it returned 3, which is no module"),
    ],
)
def test_an_engine_that_fails_to_finish_is_named(net: nn.Module, finish: Any, why: str) -> None:
    made = plugin(fxq_engines=[replace(REFERENCE, name="tpu", finish=finish)])
    with untouched(net, X), pytest.raises(fxq.PluginError) as caught:
        fxq.quantize(net, [X], "tpu", registry=load(plugins=(made,), strict=False))
    assert str(caught.value) == (
        f"acme: engine 'tpu' failed to finish the module with {why}; take another engine until the plugin is mended"
    )


def inactive() -> Any:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("active", "why"),
    [(inactive, "SystemExit: 0"), (lambda: 1 / 0, "ZeroDivisionError: division by zero")],
)
def test_an_engine_that_can_not_become_active_is_named(net: nn.Module, active: Any, why: str) -> None:
    made = plugin(fxq_engines=[replace(REFERENCE, name="tpu", active=active)])
    with untouched(net, X), pytest.raises(fxq.PluginError) as caught:
        fxq.quantize(net, [X], "tpu", registry=load(plugins=(made,), strict=False))
    assert str(caught.value) == (
        f"acme: engine 'tpu' failed to become active with {why}; take another engine until the plugin is mended"
    )
