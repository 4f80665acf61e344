"""In-place ops become out-of-place ones wherever nobody else can see the written memory."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core import spellings
from fxq_core.capture.values import REASON, value_of

OPERATORS = {getattr(operator, f"i{name}"): getattr(operator, name) for name in ("add", "sub", "mul", "truediv")}

# ops whose result is always new memory; whatever is not listed may be a view of its input
FRESH: frozenset[Any] = frozenset[Any]().union(
    spellings.CONV1D, spellings.CONV2D, spellings.CONV3D, spellings.LINEAR, spellings.BATCH_NORM,
    spellings.CLAMP_LIKE, spellings.ADD, spellings.MUL, spellings.CAT, spellings.SIGMOID, spellings.TANH,
    spellings.HARDSIGMOID, spellings.HARDSWISH, spellings.SILU, spellings.LEAKY_RELU, spellings.ELU,
    spellings.MAX_POOL1D, spellings.MAX_POOL2D, spellings.MAX_POOL3D, spellings.AVG_POOL1D, spellings.AVG_POOL2D,
    spellings.AVG_POOL3D, {F.batch_norm, nn.Softmax, nn.GELU, nn.LayerNorm, nn.GroupNorm, operator.sub,
    operator.truediv, operator.matmul, torch.matmul, torch.softmax, F.softmax, F.gelu, F.layer_norm, "clone"},
)  # fmt: skip


def functionalize(graph_module: fx.GraphModule) -> None:
    """Rewrite the in-place ops of a graph, in place.

    ``y = x.relu_()`` becomes ``y = x.relu()`` and later uses of ``x`` become uses of ``y``, if no view
    of ``x``, no caller's tensor and no buffer shares its memory. Otherwise the op stays, and every
    value that may share the memory is marked to stay float.
    """
    modules = dict(graph_module.named_modules())
    unsafe: set[str] = set()
    for node in list(graph_module.graph.nodes):
        target = _out_of_place(node, modules)
        if target is None:
            continue
        written = node.args[0] if node.args else node.kwargs.get("input")
        if isinstance(written, fx.Node) and value_of(written).kind != "tensor":
            node.target = target  # numbers have no memory to share
            continue
        shared = _may_share_memory(written, modules) if isinstance(written, fx.Node) else []
        reason = _visible(node, written, shared)
        if reason:
            unsafe.add(str(node.target) if node.op == "call_module" else "")
            for sharer in (node, *shared):
                sharer.meta[REASON] = reason
            continue
        node.target = target
        if "inplace" in node.kwargs:
            node.kwargs = {**node.kwargs, "inplace": False}
        written.replace_all_uses_with(node, delete_user_cb=lambda user, n=node: user > n)
    for path, module in modules.items():
        if getattr(module, "inplace", False) is True and _of_torch(module) and path not in unsafe:
            module.inplace = False


def _of_torch(module: nn.Module) -> bool:
    """Whether ``inplace`` is torch.nn's switch and not an attribute of the user's own class."""
    return type(module).__module__.startswith("torch.nn")


def _out_of_place(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    """The target that computes the same without writing, or None if the node does not write."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        return node.target if getattr(module, "inplace", False) is True and _of_torch(module) else None
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
            return next((getattr(s, name[:-1]) for s in spaces if getattr(s, name, None) is node.target), None)
        return OPERATORS.get(node.target)
    return None


def _may_share_memory(node: fx.Node, modules: dict[str, nn.Module]) -> list[fx.Node]:
    """``node`` and every value that may be a view of it, or that it may be a view of."""
    found: dict[fx.Node, None] = {}
    pending = [node]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found[current] = None
        if not _is_fresh(current, modules):
            pending += current.all_input_nodes
        pending += [user for user in current.users if user.op != "output" and not _is_fresh(user, modules)]
    return list(found)


def _is_fresh(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        module = modules[str(node.target)]
        return type(module) in FRESH and getattr(module, "inplace", False) is not True
    return node.op in ("call_function", "call_method") and node.target in FRESH and not node.kwargs.get("inplace")


def _visible(node: fx.Node, written: Any, shared: list[fx.Node]) -> str | None:
    """Who else would see the write, in a sentence, or None."""
    if not isinstance(written, fx.Node):
        return "it writes in place into a value that is not an argument of its own"
    for sharer in shared:
        if sharer.op == "placeholder":
            return f"{node.name} writes in place into memory of the input {sharer.name!r}, which the caller can see"
        if sharer.op == "get_attr":
            return f"{node.name} writes in place into memory of {sharer.target!r}, which the module keeps"
    for sharer in shared:
        if sharer is written or sharer is node or sharer > node:
            continue
        if any(user is not node and user > node for user in sharer.users):
            return f"{node.name} writes in place into memory that {sharer.name} shares and is read again later"
    return None
