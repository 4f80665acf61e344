"""In-place ops become out-of-place ones wherever nobody else can see the written memory."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core import families, spellings
from fxq_core.capture.tracer import INPLACE_OPERATORS, has_hooks, is_layer
from fxq_core.capture.values import FLOAT_ONLY, REASON, SHARES, WRITES, shared_by, value_of, written_by
from fxq_core.signatures import asks_for_shape

OPERATORS = {getattr(operator, f"__i{name}__"): getattr(operator, f"__{name}__") for name in INPLACE_OPERATORS}

# ops that do nothing but compute a result, so that one that nobody takes can go
QUIET: frozenset[Any] = frozenset[Any]().union(
    *families.CLAMPED.values(), *families.OWN_RANGE.values(), *families.IN_FLOAT.values(), *families.SHARED.values(),
    spellings.DIV, {F.batch_norm},
)  # fmt: skip
# ops that may give a view with other shapes or layouts, though they gave new memory on the example
MAYBE_VIEWS = {
    nn.Flatten, torch.flatten, torch.reshape, "flatten", "reshape", "contiguous", "to", "type", "type_as", "float",
    "expand", "expand_as",
}  # fmt: skip
# kinds of values that hold no memory
MEMORYLESS = {"int", "float", "bool", "str", "NoneType", "Size", "dtype", "device", "layout", "memory_format"}


def functionalize(graph_module: fx.GraphModule) -> None:
    """Rewrite the in-place ops of a graph, in place.

    ``y = x.relu_()`` becomes ``y = x.relu()`` and later uses of ``x`` become uses of ``y``, if no view
    of ``x``, no caller's tensor and no buffer shares its memory. Otherwise the op stays, and no
    value that may share the memory is taken in int8.
    """
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    called: dict[str, bool] = {}  # whether all calls of an in-place layer may become out-of-place
    for node in list(graph_module.graph.nodes):
        if node.target in OPERATORS and value_of(node).kind != "tensor":
            node.target = OPERATORS[node.target]  # numbers have no memory; torch.fx would rebind the old name too
        for written in written_by(node):
            shared = _may_share_memory(written, node, modules)
            rewritable = _out_of_place(node, modules) is not None and node.all_input_nodes[0] is written
            reason = _visible(node, written, shared, rewritable)
            if node.op == "call_module":
                called[str(node.target)] = called.get(str(node.target), True) and reason is None and rewritable
            if reason is not None:
                node.meta[REASON] = reason
                for sharer in (node, *shared):
                    sharer.meta[FLOAT_ONLY] = reason
                    if _sources(sharer, modules):
                        sharer.meta[REASON] = reason  # a view, which must stay one
            elif rewritable:
                _rewrite(node, written, modules)
    for path, safe in called.items():
        if safe and _has_switch(modules[path]):
            modules[path].inplace = False


def drop_unused(graph_module: fx.GraphModule) -> None:
    """Remove the nodes whose results nobody takes and that do nothing else."""
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    for node in reversed(graph_module.graph.nodes):
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        computes = node.op in ("call_function", "call_method") and node.target in QUIET
        quiet = node.op == "get_attr" or computes or (layer is not None and is_layer(layer))
        if quiet and not node.users and not written_by(node) and not (layer is not None and has_hooks(layer)):
            graph_module.graph.erase_node(node)


def _rewrite(node: fx.Node, written: fx.Node, modules: dict[str, nn.Module]) -> None:
    node.target = _out_of_place(node, modules)
    if "inplace" in node.kwargs:
        node.kwargs = {**node.kwargs, "inplace": False}
    node.meta[WRITES] = node.meta[SHARES] = ()
    written.replace_all_uses_with(node, delete_user_cb=lambda user: user > node)


def _has_switch(module: nn.Module) -> bool:
    """Whether the module is a layer of torch.nn that works in place by its ``inplace`` attribute."""
    return type(module).__module__.startswith("torch.nn") and getattr(module, "inplace", False) is True


def _out_of_place(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    """The target that computes the same without writing, or None if there is none."""
    if node.op == "call_module":
        return node.target if _has_switch(modules[str(node.target)]) else None
    if "out" in node.kwargs:
        return None
    if node.op == "call_method":
        name = str(node.target)
        functional = name[:-1] if name.endswith("_") and not name.endswith("__") else ""
        return functional if hasattr(torch.Tensor, functional) and functional else None
    if node.op == "call_function":
        if node.kwargs.get("inplace") is True:
            return node.target
        name = getattr(node.target, "__name__", "")
        if name.endswith("_") and not name.endswith("__"):
            spaces = (torch, F)
            return next((getattr(s, name[:-1], None) for s in spaces if getattr(s, name, None) is node.target), None)
        return OPERATORS.get(node.target)
    return None


def _may_share_memory(written: fx.Node, writer: fx.Node, modules: dict[str, nn.Module]) -> list[fx.Node]:
    """``written`` and every value that may be a view of it, or that it may be a view of."""
    found: dict[fx.Node, None] = {}
    pending = [written]
    while pending:
        current = pending.pop()
        if current in found or current is writer:
            continue
        found[current] = None
        if current.op == "get_attr":  # each read of a buffer is a node of its own
            pending += [n for n in current.graph.nodes if n.op == "get_attr" and n.target == current.target]
        pending += _sources(current, modules)
        pending += [user for user in current.users if user.op != "output" and current in _sources(user, modules)]
    return list(found)


def _sources(node: fx.Node, modules: dict[str, nn.Module]) -> Sequence[fx.Node]:
    """The values that a node's result may be a view of: what it writes into, what it shares memory with, or any."""
    if written := written_by(node):
        return written
    if value_of(node).kind in MEMORYLESS:
        return ()
    layer = modules[str(node.target)] if node.op == "call_module" else None
    if (node.target if layer is None else type(layer)) in MAYBE_VIEWS or not (layer is None or is_layer(layer)):
        return node.all_input_nodes
    return shared_by(node)


def _visible(node: fx.Node, written: fx.Node, shared: list[fx.Node], rewritable: bool) -> str | None:
    """Who would see a write, or miss it if it became out-of-place, in a sentence; None if nobody."""
    for sharer in shared:
        if sharer.op == "placeholder":
            return f"{node.name} writes in place into memory of the input {sharer.name!r}, which the caller can see"
        if sharer.op == "get_attr":
            return f"{node.name} writes in place into memory of {sharer.target!r}, which the module keeps"
    for sharer in shared:
        if sharer > node:
            continue  # made from what was written
        later = any(user is not node and user > node and not asks_for_shape(user) for user in sharer.users)
        # later readers of the value itself can be given the result instead
        if later and not (sharer is written and rewritable):
            return f"{node.name} writes in place into memory that {sharer.name} shares and is read again later"
    return None
