"""Run a lowered model with hostile codes after every op, and note what each op makes of those that it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from fxq_core.analysis.borders import Borders
from fxq_core.analysis.tap import Tap, last_of_sources
from fxq_core.capture.graphs import tensor_at
from fxq_core.capture.values import value_of
from fxq_core.plan import PartPlan, Plan
from fxq_core.quantized_module import SOURCE, QuantizedModule
from fxq_core.types import QParams

from support.oracle.call import Call
from support.oracle.codes import Codes, hostile, nearest
from support.oracle.layers import LAYERS


@dataclass(slots=True)
class Watch:
    """Looks on while a lowered graph runs, and puts hostile codes in place of each result."""

    borders: Borders
    results: Mapping[fx.Node, fx.Node]
    nodes: Mapping[str, fx.Node]
    generator: torch.Generator
    found: dict[fx.Node, torch.Tensor] = field(default_factory=dict)
    given: dict[fx.Node, Any] = field(default_factory=dict)

    def look(self, n: fx.Node, result: Any) -> Any:
        value = self.results.get(n)
        if value is None:
            if SOURCE in n.meta and not isinstance(result, torch.Tensor):
                self.given[self.nodes[n.meta[SOURCE]]] = result
            return result
        qparams = self.borders.of(value)
        if value_of(value).kind == "tensors":
            parts = [self.codes(value, item) for item in result]
            self.given[value] = tuple(Codes(part, qparams) for part in parts)
            self.found[value] = torch.cat([part.flatten() for part in parts])
            return result
        self.found[value] = self.codes(value, result)
        self.given[value] = hostile(self.found[value], qparams, self.generator)
        # in the memory layout of the result
        floats = torch.empty_like(self.borders.floats(value, result)).copy_(self.given[value].numbers())
        return self.borders.quantized(value, floats)

    def codes(self, value: fx.Node, held: Any) -> torch.Tensor:
        """The codes of what the engine holds, in int64."""
        scale, zero_point = self.borders.of(value)
        return torch.round(self.borders.floats(value, held).double() / scale).long() + zero_point


def watched(
    plan: Plan, qparams: Mapping[int, QParams], lowered: QuantizedModule, x: torch.Tensor, seed: int
) -> Iterator[Call]:
    """Every op of a model of one part that takes and gives codes.

    Args:
        plan, qparams: what ``lowered`` was made by.
        x: a batch.
        seed: of the codes.
    """
    (part,) = plan.parts
    last = last_of_sources(lowered)
    results = {last[value.name]: value for value in part.chosen if value.name in last}
    nodes = {node.name: node for node in part.graph_module.graph.nodes}
    watch = Watch(Borders(plan, part, qparams), results, nodes, torch.Generator().manual_seed(seed))
    with plan.engine.active(), torch.no_grad():
        Tap(lowered, lowered.fxq_graph, watch.look).run(x)
    for value, group in part.groups.of.items():
        if value.op == "placeholder":
            watch.given[value] = Codes(watch.codes(value, watch.borders.quantized(value, x)), qparams[group])
    watch.given.update(_constants(part, qparams))
    for value, found in watch.found.items():
        match = part.chosen[value].match
        if all(node in watch.given for node in match.inputs):
            layer = _layer(lowered, last[value.name]) if isinstance(match.modules[0], LAYERS) else None
            output = qparams[part.groups.of[value]]
            yield Call(
                engine=plan.engine.name, match=match, values=watch.given, output=output, layer=layer, found=found
            )


def _constants(part: PartPlan, qparams: Mapping[int, QParams]) -> Iterator[tuple[fx.Node, Codes]]:
    for value, group in part.groups.of.items():
        if value.op == "get_attr":
            tensor = tensor_at(part.graph_module, value)
            assert tensor is not None
            yield value, nearest(tensor, qparams[group])


def _layer(lowered: nn.Module, node: fx.Node) -> nn.Module:
    """The lowered module with an int8 weight that a node's result comes from, past what clamps it."""
    while node.op != "call_module" or not hasattr(lowered.get_submodule(str(node.target)), "weight_scale"):
        node = node.all_input_nodes[0]
    return lowered.get_submodule(str(node.target))
