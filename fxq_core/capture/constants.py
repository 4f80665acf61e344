"""What a graph computes from its parameters and buffers alone is computed once."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from fxq_core.capture.calls import kept_random, random_states
from fxq_core.capture.graphs import free_path, put, tensor_at
from fxq_core.capture.values import FLOAT_ONLY, KEY, describe, written_by


def fold_constants(graph_module: fx.GraphModule) -> None:
    """Replace every value that depends on constants only by a constant, such as a standardized weight, in place.

    Memory that is written stays as it is, and so does what draws random numbers.
    """
    written = {node.target for node in _touched(graph_module.graph) if node.op == "get_attr"}
    known: dict[fx.Node, Any] = {}
    for node in graph_module.graph.nodes:
        if node.op == "get_attr":
            tensor = tensor_at(graph_module, node)
            if tensor is not None and node.target not in written and FLOAT_ONLY not in node.meta:
                known[node] = tensor
        elif _foldable(node, known):
            try:
                known[node] = _compute(node, known)
            except _RandomError:
                continue
    for node, value in known.items():
        outside = [user for user in node.users if user not in known]
        if node.op != "get_attr" and outside and isinstance(value, torch.Tensor):
            constant = constant_before(graph_module, node, f"{node.name}_folded", value.detach().clone())
            node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)
    for node in reversed(list(known)):
        if not node.users:
            graph_module.graph.erase_node(node)


def constant_before(graph_module: fx.GraphModule, node: fx.Node, name: str, value: torch.Tensor) -> fx.Node:
    """Keep a tensor in a graph's module, under a name or a free one like it, and read it just before a node."""
    path = free_path(graph_module, name)
    put(graph_module, path, value)
    with node.graph.inserting_before(node):
        constant = node.graph.get_attr(path)
    constant.meta[KEY] = describe(value)
    return constant


class _RandomError(Exception):
    """A computation drew random numbers."""


def _touched(graph: fx.Graph) -> list[fx.Node]:
    """The values that some op writes into, and what may be views of them."""
    pending = [value for node in graph.nodes for value in written_by(node)]
    found: dict[fx.Node, None] = {}
    while pending:
        value = pending.pop()
        if value not in found:
            found[value] = None
            pending += value.all_input_nodes
    return list(found)


def _foldable(node: fx.Node, known: dict[fx.Node, Any]) -> bool:
    inputs = node.all_input_nodes
    computes = node.op in ("call_function", "call_method") and not written_by(node)
    return computes and bool(inputs) and all(value in known for value in inputs)


def _compute(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
    before = random_states()
    with kept_random():
        if node.op == "call_method":
            result = getattr(args[0], str(node.target))(*args[1:], **kwargs)
        else:
            function: Any = node.target
            result = function(*args, **kwargs)
        if random_states() != before:
            raise _RandomError
    return result
