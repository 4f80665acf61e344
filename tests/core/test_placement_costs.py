"""What is int8 is what costs the fewest conversions: counted in what runs, against every other choice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.capture.values import value_of
from fxq_core.groups import group_values
from fxq_core.lowering import calibration, lower
from fxq_core.matching import Candidate, find_matches
from fxq_core.placement import CALL
from fxq_core.prepare import prepare

from support.placement import X, attention, quantizer, to_float, to_int8

Chosen = dict[fx.Node, Candidate]


def names(chosen: Iterable[fx.Node]) -> list[str]:
    return [node.name for node in chosen]


class _Counting(fx.Interpreter):
    cost = 0

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.target in (to_int8, to_float):
            self.cost += result.numel() + CALL
        return result


def cost(q: fxq.Quantizer, chosen: Chosen, x: torch.Tensor) -> int | None:
    """What the conversions cost if ``chosen`` is in int8, or None if a tuple would have to be converted."""
    (part,) = q.plan.parts
    inner = {node for candidate in chosen.values() for node in candidate.match.nodes}
    for node in part.graph_module.graph.nodes:
        if value_of(node).kind == "tensors" and any((user in inner) != (node in inner) for user in node.users):
            return None
    groups = group_values(chosen)
    observers = dict.fromkeys(groups.sources.values(), q.plan.registry.observers["minmax"])
    plan = replace(q.plan, parts=(replace(part, chosen=chosen, groups=groups, observers=observers),))
    prepared = prepare(plan)
    with torch.no_grad():
        prepared.root(x)
        module: Any = lower(plan, prepared, calibration(prepared))
        counting = _Counting(module, graph=module.fxq_graph)
        counting.run(x)
    return counting.cost


def costs(q: fxq.Quantizer, x: torch.Tensor) -> dict[tuple[str, ...], int]:
    """The cost of every choice that keeps the layers, by the names of its outputs."""
    (part,) = q.plan.parts
    matched = find_matches("", part.graph_module, q.plan.registry, q.plan.engine, lambda match: None).chosen
    layers = {node for node, c in matched.items() if isinstance(c.match.modules[0], (nn.Conv2d, nn.Linear))}
    free = [node for node in matched if node not in layers]
    found = {}
    for size in range(len(free) + 1):
        for some in itertools.combinations(free, size):
            chosen = {node: c for node, c in matched.items() if node in layers or node in some}
            price = cost(q, chosen, x)
            if price is not None:
                found[tuple(names(chosen))] = price
    return found


def two_branches(m: Any, x: torch.Tensor) -> Any:
    y = m.conv(x)
    return m.other(F.relu(torch.sigmoid(y)) + y), torch.exp(y) + y


def chunks(m: Any, x: torch.Tensor) -> Any:
    first, second = m.conv(x).chunk(2, 1)
    return torch.cat([torch.exp(first), F.max_pool2d(second, 1)], 1)


def float_chunks(m: Any, x: torch.Tensor) -> Any:
    first, second = torch.exp(x).chunk(2, 1)
    return m.conv(torch.cat([second, first], 1))


GRAPHS: dict[str, Callable[..., Any]] = {
    "layers and an activation": lambda m, x: m.other(F.silu(m.conv(x))),
    "activation at the end": lambda m, x: F.silu(m.conv(x)),
    "pool before a layer": lambda m, x: m.conv(F.max_pool2d(x, 2)),
    "larger before a layer": lambda m, x: m.conv(x.repeat(1, 1, 3, 3)),
    "smaller after a layer": lambda m, x: F.max_pool2d(F.hardswish(m.conv(x)), 3),
    "floats on both sides": lambda m, x: torch.exp(F.max_pool2d(torch.exp(x), 2)),
    "island after a layer": lambda m, x: m.other(torch.exp(F.relu(torch.tanh(m.conv(x))))),
    "residual": lambda m, x: m.other(F.relu(m.conv(x) + x)) + x,
    "two branches": two_branches,
    "fan-out": lambda m, x: (m.conv(F.relu6(torch.exp(x))), m.other(torch.tanh(torch.exp(x)))),
    "attention": attention,
    "chunks": chunks,
    "float chunks": float_chunks,
    "constant": lambda m, x: m.other(m.conv(x) * m.offset) * m.offset,
    "norm": lambda m, x: (m.norm(F.hardswish(m.conv(x))), m.norm(torch.exp(x))),
    "shape": lambda m, x: m.conv(x).reshape(x.size(0), -1)[:, : x.shape[1]],
    "used twice": lambda m, x: torch.add(torch.sigmoid(x), torch.sigmoid(x)) * m.conv(x),
    "float op within": lambda m, x: m.other(torch.erf(F.hardswish(m.conv(x))) + torch.tanh(m.conv(x))),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_no_choice_costs_less_and_none_as_cheap_has_more_in_int8(name: str, counted: fxq.Registry) -> None:
    # large and small values: a call or a number may weigh more
    for x in (X, torch.rand(800, 4, 6, 6)):
        q = quantizer(GRAPHS[name], counted, x)
        (part,) = q.plan.parts
        found = costs(q, x)
        least = min(found.values())
        assert tuple(names(part.chosen)) in found
        assert found[tuple(names(part.chosen))] == least, found
        assert max(len(chosen) for chosen, price in found.items() if price == least) == len(part.chosen)
        assert len(found) > 1
