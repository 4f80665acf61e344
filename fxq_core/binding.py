"""A lowered graph over things that are bound, in place of paths to them and of what wraps them."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

HOOKS = ("_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks")
# where the bound graph finds the module itself
ROOT = "fxq_root"


class Names:
    """What stands for ``self`` in a bound graph: an attribute for each node that refers to something."""


class Binding:
    """Binds a graph.

    Attributes:
        graph: the same graph, which finds what its node ``name`` refers to at the attribute ``name`` of ``names``.
        plain: the modules whose ``forward`` it calls.
        trusting: those of them that it calls unchecked, each with the module that feeds it.
    """

    def __init__(self, graph: fx.Graph, root: nn.Module) -> None:
        self.graph, self.names, self._root = fx.Graph(), Names(), root
        self.plain: list[nn.Module] = []
        self.trusting: list[tuple[Any, nn.Module]] = []
        setattr(self.names, ROOT, root)
        nodes: dict[fx.Node, fx.Node] = {}
        for node in graph.nodes:
            op, target = node.op, node.target
            if op == "get_attr":
                target = f"{ROOT}.{target}"
            elif op == "call_module":
                target = self._module(node)
            elif isinstance(target, torch._ops.OpOverload):
                setattr(self.names, node.name, target._op)
                op, target = "call_module", node.name
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), nodes.__getitem__)
            nodes[node] = self.graph.create_node(op, target, args, kwargs, node.name)

    def _module(self, node: fx.Node) -> str:
        """What the bound graph calls for a module."""
        module: Any = self._at(node)
        setattr(self.names, node.name, module)
        if not _is_plain(module):
            return node.name
        self.plain.append(module)
        feeding = next(iter(node.args), None)
        if hasattr(module, "fxq_trusts") and isinstance(feeding, fx.Node) and feeding.op == "call_module":
            other = self._at(feeding)
            if _is_plain(other) and module.fxq_trusts(other):
                self.trusting.append((module, other))
                return f"{node.name}.fxq_unchecked"
        return f"{node.name}.forward"

    def _at(self, node: fx.Node) -> nn.Module:
        return self._root.get_submodule(str(node.target))


def _is_plain(module: nn.Module) -> bool:
    """Whether calling a module only calls its ``forward``."""
    if isinstance(module, torch.jit.ScriptModule) or type(module).__call__ is not nn.Module.__call__:
        return False
    return not any(getattr(module, kind) for kind in HOOKS)
