"""Which nodes of a lowered graph OpenVINO computes, and in how few pieces.

Each node is translated on trial, with the shapes of the example. Those that can be are put into levels: a value that
torch computes from one of a level is in the next. All nodes of a level that OpenVINO computes are one region: no path
leads from it through torch and back, and there are as few regions as the torch ops between them allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from fxq_core.capture.values import KEY, WRITES, Value
from fxq_core.reference import ReferenceLayer, fake_quantize
from fxq_openvino.translate import UntranslatableError, translated
from fxq_openvino.translate.values import is_value, parameter, shape_of


@dataclass(slots=True)
class Partition:
    """The nodes of one graph.

    Attributes:
        inside: the level of each node that OpenVINO computes.
        outside: the level of each node that torch computes.
        plain: the nodes of both kinds that give no tensor, but sizes and the like.
        reasons: why OpenVINO computes none of the others, by node.
    """

    inside: dict[fx.Node, int]
    outside: dict[fx.Node, int]
    plain: set[fx.Node]
    reasons: dict[fx.Node, str]

    def regions(self) -> list[int]:
        """The levels that have nodes inside."""
        return sorted({*self.inside.values()})


def partition(part: nn.Module, graph: fx.Graph) -> Partition:
    values, reasons = _trial(part, graph)
    plain = {node for node, value in values.items() if not (is_value(value) or _holds_tensors(value))}
    inside = {node for node in values if node.op not in ("placeholder", "get_attr")}
    while True:
        # what asks for the shape of what torch computes is no reason for a call of OpenVINO
        for node in graph.nodes:
            if node in plain and not any(source in inside for source in node.all_input_nodes):
                inside.discard(node)
        found = _levelled(graph, inside, plain, reasons)
        levels = {level for node, level in found.inside.items() if quantizes(part, node)}
        idle = {node for node, level in found.inside.items() if level not in levels}
        if not idle:
            return found
        inside -= idle


def quantizes(part: nn.Module, node: fx.Node) -> bool:
    """Whether a node rounds to codes, or has an int8 weight."""
    if node.op == "call_module":
        return type(part.get_submodule(str(node.target))) is ReferenceLayer
    return node.target is fake_quantize


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_holds_tensors, value))
    return is_value(value) or isinstance(value, torch.Tensor)


def _trial(part: nn.Module, graph: fx.Graph) -> tuple[dict[fx.Node, Any], dict[fx.Node, str]]:
    """What each node is for OpenVINO, with the shapes of the example; or why it is nothing."""
    values: dict[fx.Node, Any] = {}
    reasons: dict[fx.Node, str] = {}
    for node in graph.nodes:
        if node.op == "output":
            continue
        example: Value | None = node.meta.get(KEY)
        if node.op != "placeholder" and all(source in values for source in node.all_input_nodes):
            try:
                values[node] = _checked(node, translated(node, part, values), example)
                continue
            except Exception as error:
                reasons[node] = str(error) if isinstance(error, UntranslatableError) else _first_line(error)
        elif node.op != "placeholder":
            reasons[node] = "what it takes has no shape that is known before it runs"
        if example is not None and example.kind == "tensor" and example.dtype is not None:
            values[node] = parameter(example.shape, example.dtype)
    torchs = {node for node in reasons if node in values}
    return {node: value for node, value in values.items() if node not in torchs}, reasons


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _checked(node: fx.Node, value: Any, example: Value | None) -> Any:
    """A translation, if it has the shape that torch gave."""
    if node.meta.get(WRITES):
        raise UntranslatableError("it writes into what it takes")
    known = is_value(value) and example is not None and example.kind == "tensor"
    if known and example is not None and shape_of(value) != list(example.shape):
        raise UntranslatableError(f"its translation gives shape {shape_of(value)}, not {list(example.shape)}")
    return value


def _levelled(graph: fx.Graph, inside: set[fx.Node], plain: set[fx.Node], reasons: dict[fx.Node, str]) -> Partition:
    levels: dict[fx.Node, int] = {}
    floor = 0
    for node in graph.nodes:
        if node.op == "output":
            continue
        sources = node.all_input_nodes
        if node in inside:
            levels[node] = max([floor, *(levels[source] for source in sources)])
            continue
        levels[node] = max([floor, *(levels[source] + (source in inside) for source in sources)])
        if node.meta.get(WRITES):
            # what comes after a write must not be computed before it, nor the other way round
            levels[node] = floor = max([levels[node], *(levels[other] + 1 for other in levels if other in inside)])
    return Partition(
        inside={node: level for node, level in levels.items() if node in inside},
        outside={node: level for node, level in levels.items() if node not in inside},
        plain=plain,
        reasons=reasons,
    )
