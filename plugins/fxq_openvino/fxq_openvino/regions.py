"""A lowered graph with a call of a compiled region in place of each level of nodes that OpenVINO computes."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

from fxq_core.capture.graphs import add_module
from fxq_core.quantized_module import SOURCE, QuantizedModule, Scale, ZeroPoint, dump
from fxq_core.report import NOTE
from fxq_openvino.partition import Partition, partition
from fxq_openvino.region import CompiledRegion
from fxq_openvino.simplify import simplify

NAME = "fxq_region"


def compile_regions(part: QuantizedModule, simplified: bool = True) -> None:
    """Rewrite the graph of a part; ``simplified`` says whether needless roundings are left out."""
    found = partition(part, part.fxq_graph)
    if found.inside:
        part.fxq_set_graph(_Rewriting(part, found, simplified).run())
    left = [f"{node.name} ({found.reasons[node]})" for node in found.outside if node in found.reasons]
    if left:
        setattr(part, NOTE, f"torch computes {', '.join(left)}")


class _Rewriting:
    def __init__(self, part: QuantizedModule, found: Partition, simplified: bool) -> None:
        self.part, self.old, self.found, self.simplified = part, part.fxq_graph, found, simplified
        self.graph = fx.Graph()
        self.values: dict[fx.Node, fx.Node] = {}

    def run(self) -> fx.Graph:
        outside = self.found.outside
        for level in range(max([*outside.values(), *self.found.inside.values()]) + 1):
            for node in self.old.nodes:
                if outside.get(node) == level and node.op != "get_attr":
                    self.values[node] = self._copied(node)
            if nodes := [node for node in self.old.nodes if self.found.inside.get(node) == level]:
                self._call(nodes)
        (end,) = (node for node in self.old.nodes if node.op == "output")
        self._copied(end)
        return self.graph

    def _copied(self, node: fx.Node) -> fx.Node:
        return self.graph.node_copy(node, self._loaded)

    def _loaded(self, value: fx.Node) -> fx.Node:
        if value not in self.values:
            self.values[value] = self._copied(value)
        return self.values[value]

    def _call(self, nodes: list[fx.Node]) -> None:
        """Add the call of a region."""
        members = set(nodes)
        results = [node for node in nodes if any(user not in members for user in node.users)]
        inner = _Inner(self.found.plain, members)
        for node in nodes:
            inner.copied(node)
        inner.graph.output(tuple(inner.values[node] for node in results))
        if self.simplified:
            simplify(inner.graph, self.part)
        qparams: list[Any] = []
        for node in inner.graph.nodes:
            fx.node.map_aggregate((node.args, node.kwargs), lambda value: _collect(value, qparams))
        region = CompiledRegion(dump(inner.graph), self.part)
        # what only rounds the inputs has no node of the float graph
        named = [str(node.meta[SOURCE]) for node in nodes if SOURCE in node.meta] or [nodes[0].name]
        setattr(region, NOTE, f"one call of OpenVINO computes {' to '.join(dict.fromkeys((named[0], named[-1])))}")
        path = add_module(self.part, NAME, region)
        call = self.graph.call_module(path, (tuple(qparams), *map(self._loaded, inner.inputs)))
        for number, node in enumerate(results):
            value = self.graph.call_function(operator.getitem, (call, number)) if len(results) > 1 else call
            if SOURCE in node.meta:
                value.meta[SOURCE] = node.meta[SOURCE]
            self.values[node] = value


def _collect(value: Any, found: list[Any]) -> Any:
    if isinstance(value, (Scale, ZeroPoint)):
        found.append(value)
    return value


class _Inner:
    """The graph of a region while it is built: what it takes from outside becomes its inputs."""

    def __init__(self, plain: set[fx.Node], members: set[fx.Node]) -> None:
        self.plain, self.members = plain, members
        self.graph = fx.Graph()
        self.values: dict[fx.Node, fx.Node] = {}
        self.inputs: list[fx.Node] = []

    def copied(self, node: fx.Node) -> fx.Node:
        if node not in self.values:
            # constants and questions about shapes are cheaper asked again than handed over
            if node in self.members or node.op == "get_attr" or (node in self.plain and node.op != "placeholder"):
                self.values[node] = self.graph.node_copy(node, self.copied)
            else:
                self.inputs.append(node)
                self.values[node] = self._placed(node)
        return self.values[node]

    def _placed(self, node: fx.Node) -> fx.Node:
        name = f"input_{len(self.inputs) - 1}"
        body = next((other for other in self.graph.nodes if other.op != "placeholder"), None)
        if body is None:
            return self.graph.placeholder(name)
        with self.graph.inserting_before(body):
            return self.graph.placeholder(name)
