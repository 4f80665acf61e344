"""The lowered module while it is being built: its graph, and what the graph refers to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from fxq_core.capture.graphs import add_module, find, free_path, put
from fxq_core.capture.values import KEY, WRITES, value_of, written_by
from fxq_core.quantized_module import SOURCE


class Builder:
    """Adds nodes to the lowered graph and places modules and tensors in its root.

    Args:
        source: the float graph that is being lowered; it stays as it is.
        root: the lowered module.
        replaced: what copies of float modules hold instead of some of their submodules, by ``id``.
        load: gives the lowered float node for a value of the float graph.
    """

    def __init__(
        self, source: fx.GraphModule, root: nn.Module, replaced: dict[int, Any], load: Callable[[fx.Node], fx.Node]
    ) -> None:
        self.source, self.root, self.replaced, self.load = source, root, replaced, load
        self.graph = fx.Graph()
        self._float_paths: dict[str, str] = {}

    def copy(self, node: fx.Node, instead: Mapping[fx.Node, fx.Node]) -> fx.Node:
        """Copy a float node, and the module or tensor it refers to; ``instead`` overrides the values it takes.

        Its meta says what it computed on the example, and the names of the values that it writes into.
        """
        copied = self.graph.node_copy(node, lambda n: instead[n] if n in instead else self.load(n))
        copied.meta = {SOURCE: node.name, KEY: value_of(node), WRITES: tuple(value.name for value in written_by(node))}
        if node.op in ("call_module", "get_attr"):
            copied.target = self._float_path(str(node.target))
        return copied

    def _float_path(self, path: str) -> str:
        """Where the lowered module holds a copy of the float module or tensor at ``path``."""
        if path not in self._float_paths:
            self._float_paths[path] = free_path(self.root, path)
            put(self.root, self._float_paths[path], copy.deepcopy(find(self.source, path), self.replaced))
        return self._float_paths[path]

    def place(self, path: str, module: nn.Module) -> str:
        """Put a module at a path, or at the first free path like it, or find its equal there."""
        module.eval()
        there = find(self.root, path)
        if isinstance(there, nn.Module) and _equal(there, module):
            return path
        return add_module(self.root, path, module)

    def constant(self, name: str, value: torch.Tensor) -> fx.Node:
        path = free_path(self.root, name)
        put(self.root, path, value)
        return self.graph.get_attr(path)


def _equal(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    same_kind = (
        type(first) is type(second) and first.extra_repr() == second.extra_repr() and ours.keys() == theirs.keys()
    )
    return same_kind and all(torch.equal(ours[key], theirs[key]) for key in ours)
