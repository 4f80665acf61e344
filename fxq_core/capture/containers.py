"""Lists, tuples and dicts of values: a trace gets the container itself and its values one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx
from torch.utils._pytree import TreeSpec, tree_flatten_with_path, tree_structure, tree_unflatten, treespec_dumps

from fxq_core import spellings
from fxq_core.errors import CaptureError

CONTAINERS = (list, tuple, dict)
# what the ops that split call the number or the sizes of the pieces
PIECES = {"chunks", "split_size", "split_size_or_sections", "split_sizes", "indices_or_sections", "indices", "sections"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How an argument nests its values: its structure as text, the way to each value, and what rebuilds it."""

    text: str
    paths: tuple[Any, ...]
    spec: TreeSpec

    def open(self, value: fx.Proxy) -> Any:
        """The container that a proxy stands for, with a proxy for each value in it."""
        values = []
        for path in self.paths:
            inner: Any = value
            for key in path:
                inner = key.get(inner)
            values.append(inner)
        return tree_unflatten(values, self.spec)


def layout_of(value: Any) -> Layout | None:
    """The layout of a plain list, tuple or dict with something in it, or None."""
    if type(value) not in CONTAINERS or not value:
        return None
    leaves, spec = tree_flatten_with_path(value)
    return Layout(treespec_dumps(spec), tuple(path for path, _ in leaves), spec)


def require_layout(value: Any, text: str, name: str) -> None:
    """Refuse a container that nests its values in another way than the one the graph was traced with."""
    if treespec_dumps(tree_structure(value)) != text:
        raise CaptureError(
            f"argument {name!r} nests other values than in the example that this model was quantized with; "
            "quantize again with an example like it"
        )


def require_pieces(pieces: Any, count: int) -> None:
    """Refuse another number of tensors than the one that the graph was traced with."""
    if len(pieces) != count:
        raise CaptureError(
            f"a tensor was split into {count} pieces in the example that this model was quantized with and into "
            f"{len(pieces)} now; quantize again with an example of this size"
        )


def count_pieces(node: fx.Node) -> int | None:
    """How many tensors an op splits its input into, where its arguments say so."""
    if node.op not in ("call_function", "call_method") or node.target not in spellings.CHUNK:
        return None
    named = (value for name, value in node.kwargs.items() if name in PIECES)
    wanted = node.args[1] if len(node.args) > 1 else next(named, None)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if isinstance(wanted, (list, tuple)):
        return len(wanted) + (name == "tensor_split")
    return wanted if name in ("chunk", "tensor_split") and isinstance(wanted, int) else None
