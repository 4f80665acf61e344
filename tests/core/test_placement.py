"""What is int8 is what costs the fewest conversions: counted in what runs, against every other choice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.capture.values import value_of
from fxq_core.families import FIXED, IN_FLOAT
from fxq_core.groups import group_values
from fxq_core.lowering import calibration, lower
from fxq_core.matching import Candidate, find_matches
from fxq_core.placement import CALL
from fxq_core.prepare import prepare
from fxq_core.reference import REFERENCE

from support.distributions import load

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(2, 4, 6, 6, generator=GENERATOR)
Chosen = dict[fx.Node, Candidate]


def to_int8(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


def to_float(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


def emit_to_int8(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    return ctx.call(to_int8, ctx.inputs[0])


def emit_to_float(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    return ctx.call(to_float, ctx.inputs[0])


def emit_in_float(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    """As native engines do it: every input to float, the op, and its result to int8."""
    floats = {value: ctx.call(to_float, node) for value, node in zip(match.inputs, ctx.inputs, strict=True)}
    return ctx.call(to_int8, ctx.copy(floats))


class Counted:
    """The reference engine with conversions that can be counted, for what it holds in float too."""

    @fxq.hookimpl
    def fxq_engines(self) -> Iterator[fxq.Engine]:
        yield replace(REFERENCE, name="counted")

    @fxq.hookimpl
    def fxq_lowerings(self) -> Iterator[fxq.Lowering]:
        yield fxq.Lowering(engine="counted", pattern="quantize", emit=emit_to_int8)
        yield fxq.Lowering(engine="counted", pattern="dequantize", emit=emit_to_float)
        for name in IN_FLOAT:
            yield fxq.Lowering(
                engine="counted", pattern=name, emit=emit_in_float, output=FIXED.get(name), in_float=True
            )


@pytest.fixture(scope="module")
def counted() -> fxq.Registry:
    return load(plugins=(Counted(),))


class Net(nn.Module):
    """``form`` of some layers and an input."""

    def __init__(self, form: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.conv, self.other, self.third = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm, self.linear = nn.BatchNorm2d(4), nn.Linear(6, 6)
        self.register_buffer("offset", torch.rand(4, 1, 1))

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


def quantizer(form: Callable[..., Any], registry: fxq.Registry, x: torch.Tensor = X) -> fxq.Quantizer:
    return fxq.Quantizer(Net(form).eval(), x, "counted", registry=registry)


def names(chosen: Iterable[fx.Node]) -> list[str]:
    return [node.name for node in chosen]


def kept(form: Callable[..., Any], registry: fxq.Registry, x: torch.Tensor = X) -> list[str]:
    """The patterns in int8, in graph order."""
    (part,) = quantizer(form, registry, x).plan.parts
    return [candidate.match.pattern.name for candidate in part.chosen.values()]


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


def attention(m: Any, x: torch.Tensor) -> Any:
    q, k, v = m.conv(x), m.other(x), m.third(x)
    return m.linear((q @ k.transpose(-1, -2)).softmax(-1) @ v)


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


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # layers are kept whatever their conversions cost
        (lambda m, x: torch.exp(m.conv(torch.exp(x))), ["conv2d"]),
        # a fan-out costs one conversion
        (lambda m, x: m.conv(x) + torch.tanh(x) * m.third(x), ["conv2d", "tanh", "conv2d", "mul", "add"]),
        # as many conversions on either side of the pool: int8
        (lambda m, x: m.conv(F.max_pool2d(x, 1)), ["max_pool2d", "conv2d"]),
        (lambda m, x: F.max_pool2d(m.conv(x), 1), ["conv2d", "max_pool2d"]),
        # fewer numbers behind the pool, and so before it
        (lambda m, x: m.conv(F.max_pool2d(x, 2)), ["conv2d"]),
        (lambda m, x: F.max_pool2d(m.conv(x), 2), ["conv2d", "max_pool2d"]),
        (lambda m, x: m.conv(x.repeat(1, 1, 2, 2)), ["repeat", "conv2d"]),
        # floats in and out: float
        (lambda m, x: F.max_pool2d(torch.exp(x), 2).sin(), []),
        (lambda m, x: torch.exp(x) + x, []),
        # an op without a kernel between two layers stays in int8, but nowhere else
        (lambda m, x: m.other(F.silu(m.conv(x))), ["conv2d", "silu", "conv2d"]),
        (lambda m, x: F.silu(m.conv(x)), ["conv2d"]),
        # attention is an island of floats between the projections, but for a tie
        (attention, ["conv2d"] * 3 + ["transpose", "linear"]),
        # a constant is kept in the form that is used
        (lambda m, x: m.conv(x) * m.offset, ["conv2d", "mul"]),
        (lambda m, x: torch.exp(x) * m.offset, []),
        # the pieces of a tuple stand on its side
        (lambda m, x: torch.cat(m.conv(x).chunk(2, 1)[::-1], 1), ["conv2d"]),
        (lambda m, x: [torch.exp(y) for y in m.conv(x).chunk(2, 1)], ["conv2d"]),
        (lambda m, x: [m.other(y.repeat(1, 2, 1, 1)) for y in m.conv(x).chunk(2, 1)],
         ["conv2d", "chunk", "getitem", "getitem", "repeat", "conv2d", "repeat", "conv2d"]),
        # who asks for a shape takes no value
        (lambda m, x: (m.other(F.relu6(y := torch.sigmoid(m.conv(x)))), y.size(0), y.shape[1], y.dim(), y.ndim),
         ["conv2d", "sigmoid", "clamp", "conv2d"]),
    ],
)  # fmt: skip
def test_what_is_kept(form: Any, expected: list[str], counted: fxq.Registry) -> None:
    assert sorted(kept(form, counted)) == sorted(expected)


def test_a_look_up_in_a_table_is_neither_in_int8_nor_in_the_way(core: fxq.Registry) -> None:
    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.layer = nn.Embedding(5, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> Any:
            y = self.table(x)
            return self.layer(F.relu(y)), torch.exp(F.hardswish(y))

    (part,) = fxq.Quantizer(Look().eval(), torch.arange(5), "reference", registry=core).plan.parts
    # what is looked up is a float: nothing becomes int8 around it but the layer
    assert [c.match.pattern.name for c in part.chosen.values()] == ["embedding", "clamp", "linear"]


def test_what_is_not_worth_it_says_so(counted: fxq.Registry) -> None:
    plan = quantizer(lambda m, x: m.conv(x).tanh().sin() + x, counted).plan
    verdicts = {v.node: v for v in plan.verdicts}
    assert verdicts["tanh"].quantized
    assert (verdicts["add"].quantized, verdicts["add"].reason) == (False, "int8 would only add conversions here")
