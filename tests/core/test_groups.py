"""Which values share qparams, where their ranges come from, and what they are clamped to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.groups import Groups

from support.quantizing import error, quantized, quantizer

X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    def __init__(self, form: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.last = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


def groups_of(form: Callable[[Any, Any], Any]) -> tuple[Groups, dict[str, int]]:
    (part,) = quantizer(Net(form), X).plan.parts
    return part.groups, {node.name: group for node, group in part.groups.of.items()}


def shared(form: Callable[[Any, Any], Any]) -> set[frozenset[str]]:
    """The names of the values that share qparams, group by group."""
    _, numbers = groups_of(form)
    return {frozenset(name for name in numbers if numbers[name] == group) for group in numbers.values()}


def test_an_op_that_moves_values_shares_with_its_input() -> None:
    assert shared(lambda m, x: F.max_pool2d(m.a(x), 2).flatten(1)) == {
        frozenset({"x"}),
        frozenset({"a", "max_pool2d", "flatten"}),
    }


def test_layers_and_arithmetic_do_not_share() -> None:
    assert shared(lambda m, x: m.a(x) + m.b(x)) == {frozenset({name}) for name in ("x", "a", "b", "add")}


def test_a_concatenation_unifies_its_operands_whatever_is_between() -> None:
    joined = shared(lambda m, x: torch.cat([F.max_pool2d(m.a(x), 2), F.avg_pool2d(m.b(x), 2)], 1))
    assert joined == {frozenset({"x"}), frozenset({"a", "b", "max_pool2d", "avg_pool2d", "cat"})}


def test_two_concatenations_of_one_value_are_one_group() -> None:
    joined = shared(lambda m, x: m.last(torch.cat([m.a(x), x], 1)) + m.last(torch.cat([x, m.b(x)], 1)))
    assert joined == {frozenset({"x", "a", "b", "cat", "cat_1"}), *(frozenset({n}) for n in ("last", "last_1", "add"))}


def test_prescribed_qparams_are_kept() -> None:
    groups, numbers = groups_of(lambda m, x: torch.cat([torch.sigmoid(m.a(x)).flatten(1), m.b(x).flatten(1)], 1))
    assert numbers["sigmoid"] == numbers["flatten"] != numbers["cat"]
    assert numbers["b"] == numbers["flatten_1"] == numbers["cat"]
    assert tuple(groups.fixed[numbers["sigmoid"]]) == (1 / 256, 0)
    assert numbers["cat"] not in groups.fixed
    # the sigmoid's values come into the concatenation from another group, so it is watched itself
    assert {node.name for node, group in groups.sources.items() if group == numbers["cat"]} == {"b", "cat"}
    alone, numbers = groups_of(lambda m, x: torch.cat([torch.sigmoid(m.a(x)), torch.tanh(m.b(x))], 1))
    assert len({numbers[name] for name in ("sigmoid", "tanh", "cat")}) == 3
    assert len(alone.fixed) == 2


def test_every_source_is_watched_and_nothing_else() -> None:
    groups, numbers = groups_of(lambda m, x: torch.cat([F.max_pool2d(m.a(x), 2), F.avg_pool2d(m.b(x), 2)], 1))
    assert {node.name for node in groups.sources} == {"x", "a", "b"}
    assert set(groups.sources.values()) == set(numbers.values())


BOTH = math.inf
BOUNDS = {
    "relu": (lambda y: F.relu(y), (0.0, BOTH)),
    "relu6": (lambda y: F.relu6(y), (0.0, 6.0)),
    "hardtanh": (lambda y: F.hardtanh(y, -0.5, 0.25), (-0.5, 0.25)),
    "clamp": (lambda y: y.clamp(-1, 2), (-1, 2)),
    "clamp_min": (lambda y: torch.clamp_min(y, -0.5), (-0.5, BOTH)),
    "clamp_max": (lambda y: torch.clamp_max(y, 0.5), (-BOTH, 0.5)),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_group_knows_what_its_sources_are_clamped_to(name: str) -> None:
    clamp, bounds = BOUNDS[name]
    for extra in (lambda y: y, lambda y: F.max_pool2d(y, 2), lambda y: F.avg_pool2d(y, 2).flatten(1)):
        groups, numbers = groups_of(lambda m, x: extra(clamp(m.a(x))))  # noqa: B023
        assert groups.bounds[numbers[name]] == bounds
        assert groups.bounds[numbers["x"]] == (-BOTH, BOTH)


def test_the_bounds_of_a_group_are_the_widest_of_its_sources() -> None:
    groups, numbers = groups_of(lambda m, x: torch.cat([F.relu6(m.a(x)), F.hardtanh(m.b(x))], 1))
    assert groups.bounds[numbers["cat"]] == (-1.0, 6.0)
    groups, numbers = groups_of(lambda m, x: torch.cat([F.relu(m.a(x)), m.b(x)], 1))
    assert groups.bounds[numbers["cat"]] == (-BOTH, BOTH)
    groups, numbers = groups_of(lambda m, x: m.last(torch.cat([F.relu(m.a(x)), x], 1)))
    assert groups.bounds[numbers["cat"]] == (-BOTH, BOTH)


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: F.avg_pool2d(m.a(x), 4, divisor_override=1),
        lambda m, x: F.avg_pool3d(m.a(x), (1, 4, 4), divisor_override=2),
        lambda m, x: m.a(x / 10).clamp(2, 5),
        lambda m, x: (m.a(x) + m.b(x)).clamp_min(20.0),
        lambda m, x: F.max_pool2d(m.a(x), 2).clamp(max=-9.0),
        lambda m, x: 1 / F.avg_pool2d(F.relu(m.a(x)), 1).clamp(min=1.1),
        lambda m, x: torch.cat([m.a(x), torch.full((2, 1, 4, 4), 100, dtype=torch.int64)], 1),
        lambda m, x: torch.cat([m.a(x), (100 * x).long()], 1),
        lambda m, x: torch.cat([m.a(x), (100 * x).half()], 1),
        lambda m, x: torch.cat([m.a(x), x > 0], 1) * 2,
    ],
)
def test_what_leaves_the_range_of_its_input_does_not_share_it(form: Any) -> None:
    model = Net(form).eval()
    assert error(model, quantized(model, X), X) < 0.05
