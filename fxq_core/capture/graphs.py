"""Small edits of graphs and module trees that several passes share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

# in the meta of the one call in a graph that was made for a lone layer
STANDS_FOR_PART = "fxq_stands_for_part"
# in the meta of a node that asks for no more than the number or the sizes of tensors
ASKS_FOR_SHAPE = "fxq_asks_for_shape"


def put(root: nn.Module, path: str, value: Any) -> None:
    """Set a module, parameter or buffer at a dotted path, making plain containers on the way."""
    *parents, name = path.split(".")
    for parent in parents:
        if root._modules.get(parent) is None:
            root.add_module(parent, nn.Module().eval())
        root = root.get_submodule(parent)
    if isinstance(value, nn.Module):
        root.add_module(name, value)
    elif isinstance(value, nn.Parameter):
        root.register_parameter(name, value)
    elif isinstance(value, torch.Tensor):
        root.register_buffer(name, value)
    else:
        setattr(root, name, value)


def hold(module: nn.Module, name: str, tensor: torch.Tensor | None) -> None:
    """Make a tensor the parameter or buffer of this name, whatever is there; the same object, so that ties stay."""
    module._parameters.pop(name, None)
    module._buffers.pop(name, None)
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def find(root: nn.Module, path: str) -> Any:
    """The module, parameter, buffer or attribute at a dotted path, or None."""
    owner: Any = root
    for name in path.split("."):
        owner = getattr(owner, name, None)
    return owner


def free_path(root: nn.Module, path: str) -> str:
    """``path``, or the first one like it at which there is nothing and whose parents are modules."""
    *parents, _ = path.split(".")
    for depth in range(len(parents)):
        owner = find(root, ".".join(parents[: depth + 1]))
        if owner is not None and not isinstance(owner, nn.Module):
            return free_path(root, path.replace(".", "_"))
    free, number = path, 0
    while find(root, free) is not None:
        number += 1
        free = f"{path}_{number}"
    return free


def add_module(root: nn.Module, path: str, module: nn.Module, replace: bool = False) -> str:
    """Put a module at ``path``, or at the first free path like it; returns the path used."""
    free = path if replace else free_path(root, path)
    put(root, free, module)
    return free


def prefixes(path: str) -> Iterator[str]:
    """The paths of all modules around the one at a dotted path, outermost first; the root's is left out."""
    return (path[:end] for end, letter in enumerate(path) if letter == ".")


def tensor_at(root: nn.Module, value: Any) -> torch.Tensor | None:
    """The tensor that a ``get_attr`` node reads, or None for anything else."""
    if not isinstance(value, fx.Node) or value.op != "get_attr":
        return None
    tensor = find(root, str(value.target))
    return tensor if isinstance(tensor, torch.Tensor) else None


def follow(node: fx.Node, op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
    """Turn a node into another call, keeping its name, users and meta."""
    node.op, node.target, node.args, node.kwargs = op, target, args, kwargs or {}


def sizes_of(node: fx.Node) -> tuple[Any, ...]:
    """The arguments behind the first, which torch takes one by one or as a sequence."""
    sizes: Any = node.args[1:]
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def module_path(part: str, node: fx.Node) -> str:
    """The path, from the user's root, of the module that a node calls or whose forward it stands in."""
    if node.meta.get(STANDS_FOR_PART):
        return part
    if node.op == "call_module":
        inner = str(node.target)
    else:
        stack = node.meta.get("nn_module_stack") or {}
        inner = list(stack.values())[-1][0] if stack else ""
    return ".".join(filter(None, (part, inner)))


def place(part: str, node: fx.Node) -> str:
    """A node and its module as messages name them."""
    path = module_path(part, node)
    return f"node {node.name!r}" + (f" of module {path!r}" if path else "")


def arguments_of(node: fx.Node) -> list[fx.Node]:
    """The values a node takes, in order, repeated where it takes one twice."""
    found: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), lambda n: found.append(n))
    return found
