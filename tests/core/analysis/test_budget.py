"""The fewest nodes in float that keep a metric: what is kept, the path, its limits, and every error."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.budget import RANKING_BATCHES
from fxq_core.testing.photo import photo_of_model, photo_of_process

from support.exact import MINMAX, X, chain

NAN, INF = float("nan"), float("inf")


def within(core: fxq.Registry, metric: Any, max_drop: Any = 0.0, batches: Any = (X,), model: Any = None) -> nn.Module:
    model = chain() if model is None else model
    return fxq.quantize(model, batches, "reference", MINMAX, core, max_drop=max_drop, metric=metric)


def exactness(model: nn.Module) -> float:
    """Minus the largest error on X, which is 0 in float."""
    with torch.no_grad():
        return -float((model(X) - chain()(X)).abs().max())


def floats_of(model: nn.Module) -> frozenset[str]:
    """Which layers of the chain are in float."""
    return frozenset(row.node for row in fxq.report(model).rows if row.op == "Linear" and not row.quantized)


def by_floats(good: Callable[[frozenset[str]], bool]) -> Callable[[nn.Module], float]:
    """A metric that is 1 where the float layers are good, and where all are, and 0 elsewhere."""
    return lambda model: float(len(floats_of(model)) == 3 or good(floats_of(model)))


def path(qmodel: nn.Module) -> list[tuple[tuple[str, ...], float, bool]]:
    budget = fxq.report(qmodel).budget
    assert budget is not None
    return [(step.floats, step.metric, step.within) for step in budget.steps]


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


def test_a_plain_quantize_has_no_budget(core: fxq.Registry) -> None:
    assert fxq.report(fxq.quantize(chain(), [X], "reference", MINMAX, core)).budget is None


def test_a_budget_holds_for_what_is_not_tuned_afterwards(core: fxq.Registry) -> None:
    batch = torch.zeros(1, 3, 4, 4)
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.quantize(nn.Flatten(), [batch], "reference", fxq.Config(tune=True), core, max_drop=0.5, metric=exactness)
    assert str(caught.value) == (
        "max_drop= holds for the model as measured, and Config(tune=True) may round it otherwise; "
        "call fxq_core.tune(qmodel, *inputs) on the result, and measure again"
    )
