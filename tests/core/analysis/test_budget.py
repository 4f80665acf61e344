"""The fewest nodes in float that keep a metric: what is kept, the path, its limits, and every error."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.budget import RANKING_BATCHES
from fxq_core.testing.photo import photo_of_model, photo_of_process

from support.analysis import exactness, floats_of, path, within
from support.exact import MINMAX, X, chain

NAN, INF = float("nan"), float("inf")


def by_floats(good: Callable[[frozenset[str]], bool]) -> Callable[[nn.Module], float]:
    """A metric that is 1 where the float layers are good, and where all are, and 0 elsewhere."""
    return lambda model: float(len(floats_of(model)) == 3 or good(floats_of(model)))


def test_exactly_the_layer_with_the_outlier_is_left_in_float(core: fxq.Registry) -> None:
    qmodel = within(core, exactness)
    assert floats_of(qmodel) == {"_2"}
    assert exactness(qmodel) == 0.0
    budget = fxq.report(qmodel).budget
    assert budget is not None
    assert (budget.max_drop, budget.reference, budget.metric, budget.floats) == (0.0, 0.0, 0.0, ("_2",))
    full = exactness(fxq.quantize(chain(), [X], "reference", MINMAX, core))
    assert full < 0
    assert path(qmodel) == [((), full, False), (("_2",), 0.0, True)]


def test_the_report_says_what_was_kept_and_what_was_tried(core: fxq.Registry) -> None:
    qmodel = within(core, by_floats(lambda floats: "_2" in floats), 0.25)
    found = fxq.report(qmodel)
    row = next(row for row in found.rows if row.node == "_2")
    assert (row.quantized, row.pattern, row.provider) == (False, "", "the budget")
    assert row.reason == "kept in float: in int8 it would exceed max_drop=0.25"
    lines = (
        "budget: metric 1, in float 1, max_drop=0.25; 1 kept in float after 2 tries",
        "try  in float  metric  within  which",
        "---  --------  ------  ------  -----",
        "1    0         0       no",
        "2    1         1       yes     _2",
    )
    assert str(found).splitlines()[-5:] == list(lines)
    for twin in (pickle.loads(pickle.dumps(qmodel)), copy.deepcopy(qmodel)):
        assert fxq.report(twin) == found


def test_nothing_is_kept_where_int8_is_good_enough(core: fxq.Registry) -> None:
    qmodel = within(core, exactness, 100)
    assert floats_of(qmodel) == set()
    assert [floats for floats, _, _ in path(qmodel)] == [()]
    assert "; 0 kept in float after 1 try\n" in str(fxq.report(qmodel).budget)
    twin = fxq.quantize(chain(), [X], "reference", MINMAX, core)
    assert fxq.report(qmodel).rows == fxq.report(twin).rows
    assert torch.equal(qmodel(X), twin(X))


def test_a_drop_of_exactly_the_budget_is_within(core: fxq.Registry) -> None:
    half = within(core, lambda model: 1.0 - len(floats_of(model) ^ {"_0", "_1", "_2"}) / 4, 0.25)
    assert path(half)[-1][2] is False
    budget = fxq.report(half).budget
    assert budget is not None
    assert (len(budget.floats), budget.metric) == (2, 0.75)


def test_what_was_kept_for_its_rank_is_given_back(core: fxq.Registry) -> None:
    """The order is _2, _0, _1: the bisection has to keep all three before _1 is among them."""
    qmodel = within(core, by_floats(lambda floats: "_1" in floats))
    assert floats_of(qmodel) == {"_1"}
    assert path(qmodel) == [
        ((), 0.0, False),
        (("_2",), 0.0, False),
        (("_2", "_0"), 0.0, False),
        (("_2", "_0", "_1"), 1.0, True),
        (("_2", "_1"), 1.0, True),
        (("_1",), 1.0, True),
    ]


def test_no_kept_node_can_be_in_int8_even_where_fewer_are_better_than_more(core: fxq.Registry) -> None:
    """Only even numbers of float layers are good, so one by one nothing can be given back."""
    qmodel = within(core, by_floats(lambda floats: len(floats) == 2))
    assert floats_of(qmodel) == {"_2", "_0"}
    assert [floats for floats, _, good in path(qmodel) if not good] == [(), ("_2",), ("_0",)]


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.chain = chain()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.chain(x).flatten(0).reshape(2, 2)


def test_what_is_no_longer_worth_its_conversions_is_float_too_and_says_so(core: fxq.Registry) -> None:
    with pytest.warns(fxq.NothingQuantizedWarning):
        qmodel = within(core, lambda model: float(len(floats_of(model)) == 3), model=Flat().eval())
    rows = {row.op: row for row in fxq.report(qmodel).rows}
    assert (rows[".flatten"].reason, rows[".flatten"].provider) == ("int8 would only add conversions here", "fxq-core")
    assert rows["Linear"].reason == "kept in float: in int8 it would exceed max_drop=0"


def test_the_metric_is_first_given_the_float_model_before_any_batch_but_the_first_is_read(core: fxq.Registry) -> None:
    seen: list[Any] = []

    def batches() -> Any:
        for number in range(3):
            seen.append(number)
            yield X

    def metric(model: nn.Module) -> float:
        seen.append(len(floats_of(model)))
        with torch.no_grad():
            assert torch.equal(model(X), chain()(X)) or len(floats_of(model)) < 3
        return 0.0

    within(core, metric, batches=batches())
    assert seen == [0, 3, 1, 2, 0]


def test_a_stream_that_reuses_its_memory_ranks_as_a_list_does(core: fxq.Registry) -> None:
    inputs = [X * factor for factor in (0.25, 0.5, 1)] * (RANKING_BATCHES // 2)

    def stream() -> Any:
        held = torch.empty_like(X)
        for x in inputs:
            yield held.copy_(x)

    metric = by_floats(lambda floats: "_0" in floats)
    assert path(within(core, metric, batches=stream())) == path(within(core, metric, batches=inputs))


def test_what_a_metric_draws_is_the_same_each_time(core: fxq.Registry) -> None:
    qmodel = within(core, lambda model: float(torch.rand(())))
    assert [good for _, _, good in path(qmodel)] == [True]


def test_it_is_deterministic_and_leaves_everything_as_it_was(core: fxq.Registry) -> None:
    model = chain()
    before = photo_of_model(model), photo_of_process()
    first, second = (within(core, exactness, model=model) for _ in range(2))
    assert fxq.report(first) == fxq.report(second)
    assert str(first.state_dict()) == str(second.state_dict())
    assert [a.changes(b) for a, b in zip(before, (photo_of_model(model), photo_of_process()), strict=True)] == [[], []]


class Branch(nn.Module):
    """Two parts, of which each has a node of the same name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = chain()[0], chain()[2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x) if x.sum() < 0 else self.last(self.first(x))


def test_nodes_of_parts_are_named_with_their_part(core: fxq.Registry) -> None:
    def metric(model: nn.Module) -> float:
        return float(not any(row.quantized for row in fxq.report(model).rows if row.part == "last"))

    qmodel = within(core, metric, model=Branch().eval())
    assert [floats for floats, _, _ in path(qmodel)] == [(), ("last: layer",)]
    assert {row.part for row in fxq.report(qmodel).rows if row.quantized} == {"first"}


def test_a_plain_quantize_has_no_budget(core: fxq.Registry) -> None:
    assert fxq.report(fxq.quantize(chain(), [X], "reference", MINMAX, core)).budget is None
