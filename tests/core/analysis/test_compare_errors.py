"""What can't be compared, and what is told of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.reference import REFERENCE

from support.analysis import BATCH, Branch, compared, quantized
from support.distributions import load
from support.exact import X, chain, layer
from support.plain import PlainPlugin


class Taken(nn.Module):
    """What an engine gives that keeps nothing of the graphs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Loose(nn.Module):
    """No graph holds any of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Compiler:
    @fxq.hookimpl
    def fxq_engines(self) -> Any:
        yield replace(REFERENCE, name="compiler", finish=lambda module: Taken())


WAY_OUT = "pass the model that qmodel was made from, and a batch like the first that it was made with"
APART = "model and qmodel don't belong together"
ERRORS: dict[str, tuple[Any, Any, Any, type[Exception], str]] = {
    "not quantized": (chain, chain, X, fxq.FxqError, "Sequential holds no report; pass what quantize() returned"),
    "another op": (
        lambda: nn.Sequential(nn.Sigmoid(), *chain()[1:]).eval(),
        None,
        X,
        fxq.FxqError,
        f"{APART}: node '_0' (Sigmoid) of model is node '_0' (Linear) of qmodel; {WAY_OUT}",
    ),
    "fewer nodes": (
        lambda: chain()[:2].eval(),
        None,
        X,
        fxq.FxqError,
        f"{APART}: node 'output' (output) of model is node '_2' (Linear) of qmodel; {WAY_OUT}",
    ),
    "no graph": (
        lambda: Loose().eval(),
        None,
        X,
        fxq.FxqError,
        f"{APART}: no node of model is node 'input_1' (placeholder) of qmodel; {WAY_OUT}",
    ),
    "another size": (
        lambda: nn.Sequential(*chain()[:2], layer(torch.ones(3, 4))).eval(),
        None,
        X,
        fxq.FxqError,
        f"{APART}: node '_2' (Linear) has shape [2, 3] in model and [2, 2] in qmodel; {WAY_OUT}",
    ),
    "another batch": (
        lambda: nn.Sequential(layer(torch.ones(4, 3)), *chain()[1:]).eval(),
        None,
        X[:, :3],
        fxq.InputError,
        "qmodel refused the batch (RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x4)); " + WAY_OUT,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str, core: fxq.Registry) -> None:
    model, qmodel, batch, kind, text = ERRORS[name]
    qmodel = quantized(chain(), core, X) if qmodel is None else qmodel()
    with pytest.raises(kind) as caught:
        fxq.compare(model(), qmodel, batch, registry=core)
    assert type(caught.value) is kind
    assert str(caught.value) == text


@pytest.mark.parametrize("threshold", [math.nan, "20", None, True])
def test_a_threshold_that_is_no_number(threshold: Any, core: fxq.Registry) -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        compared(chain(), core, threshold=threshold)
    assert str(caught.value) == f"threshold is {threshold!r}; pass a number of dB"


def test_a_batch_that_the_float_model_refuses(core: fxq.Registry) -> None:
    with pytest.raises(fxq.CaptureError):
        fxq.compare(chain(), quantized(chain(), core, X), X[:, :3], registry=core)


def test_parts_are_named_where_they_differ(core: fxq.Registry) -> None:
    model = Branch().eval()
    qmodel = quantized(model, core, BATCH)
    model.first = nn.Identity().eval()
    with pytest.raises(fxq.FxqError) as caught:
        fxq.compare(model, qmodel, BATCH, registry=core)
    assert str(caught.value) == (
        f"{APART}: node 'layer' (Identity) of part 'first' of model is node 'layer' (Linear) of part 'first' of "
        f"qmodel; {WAY_OUT}"
    )


@pytest.mark.filterwarnings("ignore:on the last calibration batch")
def test_an_engine_that_takes_the_whole_graph() -> None:
    registry = load(plugins=(Compiler(),))
    with pytest.raises(fxq.FxqError) as caught:
        fxq.compare(chain(), quantized(chain(), registry, X, engine="compiler"), X, registry=registry)
    assert str(caught.value) == ("engine 'compiler' took the graphs of qmodel as a whole; compare the outputs instead")


def test_an_engine_that_is_not_installed(core: fxq.Registry) -> None:
    qmodel = quantized(chain()[:2].eval(), load(plugins=(PlainPlugin(),)), X, engine="plain")
    with pytest.raises(fxq.EngineError) as caught:
        fxq.compare(chain()[:2].eval(), qmodel, X, registry=core)
    assert str(caught.value) == (
        "engine 'plain' is claimed by no installed plugin; known engines: 'reference'; others come with the plugin "
        "that brings them"
    )
