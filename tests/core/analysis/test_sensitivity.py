"""What each node alone costs: an exact order, both measures, and every error."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.noise import sqnr
from fxq_core.reference import fake_quantize
from fxq_core.testing.photo import photo_of_model, photo_of_process

from support.analysis import calibrated, int8_of, ranked
from support.exact import MINMAX, ROUNDED, X, chain


def alone(core: fxq.Registry) -> float:
    """The SQNR of the last layer of the chain, by hand: rounded weights, then a rounded result."""
    model = chain()
    last = fxq.report(calibrated(model, core, X).quantize()).rows[-2]
    assert last.scale is not None
    assert last.zero_point is not None
    with torch.no_grad():
        rounded = model[:2](X) @ (torch.round(ROUNDED * 64) / 64).T
        return sqnr(model(X), fake_quantize(rounded, last.scale, last.zero_point, 0, 255))


def test_the_layer_with_the_outlier_is_first_and_exact_ones_cost_nothing(core: fxq.Registry) -> None:
    found = ranked(chain(), core, X)
    assert [(row.node, row.module, row.pattern, row.part) for row in found.rows] == [
        ("_2", "2", "linear", ""),
        ("_0", "0", "linear", ""),
        ("_1", "1", "linear", ""),
    ]
    assert [row.score for row in found.rows] == [alone(core), math.inf, math.inf]
    assert (found.engine, found.reference) == ("reference", None)


def test_it_prints_as_a_table(core: fxq.Registry) -> None:
    lines = (
        "engine reference: each node alone in int8, the costliest first",
        "node  module  pattern  SQNR dB",
        "----  ------  -------  -------",
        f"_2    2       linear   {alone(core):.1f}",
        "_0    0       linear   inf",
        "_1    1       linear   inf",
    )
    assert str(ranked(chain(), core, X)) == "\n".join(lines)


def test_a_float_model_is_calibrated_with_the_batches(core: fxq.Registry) -> None:
    settings: Any = {"engine": "reference", "config": MINMAX, "registry": core}
    assert fxq.sensitivity(chain(), [X], **settings) == ranked(chain(), core, X)
    stream = iter([X, X / 2])
    assert fxq.sensitivity(chain(), stream, **settings) == ranked(chain(), core, X, X / 2)


def test_a_metric_is_given_each_model_with_one_node_in_int8(core: fxq.Registry) -> None:
    seen: list[set[str]] = []

    def metric(model: nn.Module) -> torch.Tensor:
        seen.append(int8_of(model))
        return torch.tensor({"_0": 0.75, "_1": 0.25, "_2": 0.75}.get("".join(seen[-1]), 1.0))

    found = ranked(chain(), core, X, metric=metric)
    assert seen == [set(), {"_0"}, {"_1"}, {"_2"}]
    assert found.reference == 1.0
    lines = (
        "engine reference: each node alone in int8, the costliest first; metric in float: 1",
        "node  module  pattern  metric  drop",
        "----  ------  -------  ------  ----",
        "_1    1       linear   0.25    0.75",
        "_0    0       linear   0.75    0.25",
        "_2    2       linear   0.75    0.25",
    )
    assert str(found) == "\n".join(lines)


class Chunked(nn.Module):
    """A tuple in int8, an embedding of which only the weight is, and a branch that no graph holds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.first, self.last = nn.Embedding(5, 4), nn.Linear(4, 8), nn.Linear(8, 2)
        self.never = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        one, other = self.first(x + self.table(i)).chunk(2, -1)
        return self.last(torch.cat([other, one], -1))


class Branch(Chunked):
    def forward(self, x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.last(y) if y.sum() < 100 else self.never(y)


BATCH = (X, torch.tensor([1, 3]))


def test_what_picks_from_a_tuple_goes_with_what_makes_it(core: fxq.Registry) -> None:
    rows = {row.node: row for row in ranked(Chunked().eval(), core, BATCH).rows}
    assert {node: row.pattern for node, row in rows.items()} == {
        "table": "embedding",
        "first": "linear",
        "chunk, getitem, getitem_1": "chunk, getitem",
        "cat": "cat",
        "last": "linear",
    }
    assert all(math.isfinite(row.score) for row in rows.values())


def test_parts_are_ranked_together_and_what_no_batch_reached_is_left_out(core: fxq.Registry) -> None:
    model = Branch().eval()
    found = ranked(model, core, BATCH)
    assert {(row.part, row.node, row.module) for row in found.rows} == {
        ("first", "layer", "first"),
        ("last", "layer", "last"),
    }


class Random(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.noise = chain()[0], Noisy()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.noise(self.layer(x))


class Noisy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(2, 4)


def test_what_is_random_in_the_model_is_no_noise(core: fxq.Registry) -> None:
    (row,) = ranked(Random().eval(), core, X).rows
    assert row.score == math.inf


def test_it_is_deterministic_and_leaves_everything_as_it_was(core: fxq.Registry) -> None:
    model = Chunked().eval()
    quantizer = calibrated(model, core, BATCH)
    before = photo_of_model(model), photo_of_process(), photo_of_model(quantizer.prepared)
    state = str(quantizer.prepared.state_dict())
    first, second = (fxq.sensitivity(quantizer, [BATCH]) for _ in range(2))
    assert first == second
    after = photo_of_model(model), photo_of_process(), photo_of_model(quantizer.prepared)
    assert [one.changes(other) for one, other in zip(before, after, strict=True)] == [[], [], []]
    assert str(quantizer.prepared.state_dict()) == state


def test_nothing_in_int8_gives_no_rows(core: fxq.Registry) -> None:
    found = ranked(nn.Sequential(nn.Identity(), nn.Softmax(-1)).eval(), core, X)
    assert found.rows == ()
    assert str(found).splitlines()[1:] == ["node  module  pattern  SQNR dB", "----  ------  -------  -------"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_shows_its_progress_on_a_terminal(core: fxq.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer, terminal = calibrated(chain(), core, X), Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    fxq.sensitivity(quantizer, [X])
    assert "sensitivity:   0%" in terminal.getvalue()
    assert "0/3" in terminal.getvalue()
