"""Node by node against float: exact where int8 is, the first bad layer, every form a value is held in, every error."""

from __future__ import annotations

import copy
import io
import math
import pickle

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.noise import cosine, largest_error, sqnr
from fxq_core.testing.photo import photo_of_model, photo_of_process

from support.analysis import BATCH, Branch, compared, quantized
from support.distributions import load
from support.exact import MINMAX, X, chain, layer
from support.plain import PlainPlugin


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
