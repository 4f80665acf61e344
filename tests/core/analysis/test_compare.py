"""Node by node against float: exact where int8 is, the first bad layer, every form a value is held in, every error."""

from __future__ import annotations

import copy
import io
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.noise import cosine, largest_error, sqnr
from fxq_core.reference import REFERENCE
from fxq_core.testing.photo import photo_of_model, photo_of_process

from support.distributions import load
from support.exact import MINMAX, X, chain, layer
from support.plain import PlainPlugin


def quantized(model: nn.Module, registry: fxq.Registry, *batches: Any, engine: str = "reference") -> nn.Module:
    return fxq.quantize(model, batches, engine, MINMAX, registry)


def compared(model: nn.Module, registry: fxq.Registry, batch: Any = X, **settings: Any) -> fxq.Comparison:
    return fxq.compare(model, quantized(model, registry, batch), batch, registry=registry, **settings)


def test_exact_layers_have_no_error_and_the_layer_with_the_outlier_is_the_first(core: fxq.Registry) -> None:
    model = chain()
    qmodel = quantized(model, core, X)
    found = fxq.compare(model, qmodel, X, 80, core)
    wanted, got = model(X), qmodel(X)
    numbers = (sqnr(wanted, got), cosine(wanted, got), largest_error(wanted, got))
    assert numbers[2] > 0
    assert [(r.part, r.node, r.module, r.op, r.quantized, r.sqnr, r.cosine, r.error) for r in found.rows] == [
        ("", "input_1", "", "placeholder", False, math.inf, 1.0, 0.0),
        ("", "_0", "0", "Linear", True, math.inf, 1.0, 0.0),
        ("", "_1", "1", "Linear", True, math.inf, 1.0, 0.0),
        ("", "_2", "2", "Linear", True, *numbers),
    ]
    assert found.first == found.rows[-1]
    assert fxq.compare(model, qmodel, X, numbers[0], core).first is None


def test_it_prints_as_a_table(core: fxq.Registry) -> None:
    found = compared(chain(), core, threshold=80)
    last = found.rows[-1]
    lines = (
        "engine reference: node '_2' is the first below 80 dB",
        "   node     module  op           form   SQNR dB  cosine  largest error",
        "-  -------  ------  -----------  -----  -------  ------  -------------",
        "   input_1          placeholder  float  inf      1.0000  0",
        "   _0       0       Linear       int8   inf      1.0000  0",
        "   _1       1       Linear       int8   inf      1.0000  0",
        f">  _2       2       Linear       int8   {last.sqnr:.1f}     {last.cosine:.4f}  {last.error:.4g}",
    )
    assert str(found) == "\n".join(lines)
    assert str(compared(chain(), core)).splitlines()[0] == "engine reference: no node below 20 dB"


def test_codes_of_any_form_are_read_by_the_engines_own_lowering() -> None:
    registry = load(plugins=(PlainPlugin(),))
    model = chain()[:2].eval()
    found = fxq.compare(model, quantized(model, registry, X, engine="plain"), X, registry=registry)
    assert [(row.node, row.quantized, row.error) for row in found.rows] == [
        ("input_1", False, 0.0),
        ("_0", True, 0.0),
        ("_1", True, 0.0),
    ]


class Branch(nn.Module):
    """Can't be traced: three parts, of which one is called twice and one is never reached."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.first, self.last, self.never = nn.Embedding(3, 4), *(chain()[i] for i in (0, 2, 1))
        self.table.weight = nn.Parameter(torch.eye(4)[:3] * 127)

    def forward(self, x: torch.Tensor, *, i: torch.Tensor) -> torch.Tensor:
        y = self.first(self.first(x + self.table(i)))
        return self.last(y) if y.sum() > 0 else self.never(y)


BATCH = {"x": torch.tensor([[0.0, 2, 3, 4], [5, 6, 7, 255]]), "i": torch.tensor([0, 0])}


def test_parts_are_compared_with_what_came_to_them(core: fxq.Registry) -> None:
    model = Branch().eval()
    qmodel = quantized(model, core, BATCH)
    found = fxq.compare(model, qmodel, BATCH, registry=core)
    rows = {(row.part, row.node): row for row in found.rows}
    assert list(rows) == [
        ("table", "layer"),
        ("first", "input_1"),
        ("first", "layer"),
        ("last", "input_1"),
        ("last", "layer"),
    ]
    assert [row.quantized for row in rows.values()] == [True, False, True, False, True]
    assert rows["table", "layer"].error == rows["first", "input_1"].error == 0.0
    # one range for both calls: what the second gives is twice as large
    with torch.no_grad():
        x = BATCH["x"] + model.table(BATCH["i"])
        assert rows["first", "layer"].error == largest_error(model.first(x), qmodel.first(x))
        one, other = (m.first(m.first(x)) for m in (model, qmodel))
        assert rows["last", "input_1"].error == largest_error(one, other)
        assert rows["last", "layer"].error == largest_error(model.last(one), qmodel.last(other)) > 0


class Mixed(nn.Module):
    """A tuple, a chain of two, a constant, a node that stays float, and one that writes in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)
        self.register_buffer("offset", torch.ones(8))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        one, other = torch.relu(self.first(x) + self.offset).chunk(2, -1)
        y = self.last(torch.cat([other, one], -1))
        soft = y.softmax(-1)
        return {"soft": soft, "classes": y.argmax(-1)}


def test_what_is_no_float_tensor_in_both_has_no_row(core: fxq.Registry) -> None:
    found = compared(Mixed().eval(), core)
    names = [row.node for row in found.rows]
    assert names == ["x", "first", "relu", "getitem", "getitem_1", "cat", "last", "softmax"]
    assert all(row.sqnr > 30 for row in found.rows)


def test_pickles_copies_and_loaded_state_are_compared_alike(core: fxq.Registry) -> None:
    model = chain()
    qmodel = quantized(model, core, X)
    found = fxq.compare(model, qmodel, X, registry=core)
    file = io.BytesIO()
    torch.save(qmodel.state_dict(), file)
    file.seek(0)
    other = quantized(nn.Sequential(*(layer(m.weight.detach() / 2) for m in model)).eval(), core, 3 * X)
    assert fxq.compare(model, other, X, registry=core) != found
    other.load_state_dict(torch.load(file, weights_only=True))
    for twin in (pickle.loads(pickle.dumps(qmodel)), copy.deepcopy(qmodel), other):
        assert fxq.compare(model, twin, X, registry=core) == found


def test_a_model_within_a_budget_is_compared_too(core: fxq.Registry) -> None:
    model = chain()
    qmodel = fxq.quantize(
        model, [X], "reference", MINMAX, core, max_drop=0, metric=lambda m: -largest_error(model(X), m(X))
    )
    found = fxq.compare(model, qmodel, X, registry=core)
    assert [(row.node, row.quantized, row.error) for row in found.rows][-2:] == [("_1", True, 0.0), ("_2", False, 0.0)]


def test_everything_is_left_as_it_was(core: fxq.Registry) -> None:
    model = Mixed().eval()
    qmodel = quantized(model, core, X)
    before = photo_of_model(model), photo_of_model(qmodel), photo_of_process()
    x = X.clone()
    assert fxq.compare(model, qmodel, x, registry=core) == fxq.compare(model, qmodel, x, registry=core)
    after = photo_of_model(model), photo_of_model(qmodel), photo_of_process()
    assert [one.changes(other) for one, other in zip(before, after, strict=True)] == [[], [], []]
    assert torch.equal(x, X)


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
