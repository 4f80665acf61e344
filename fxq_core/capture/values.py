"""What each node of a captured graph computes on the example inputs: kind, shape, dtype, layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

KEY = "fxq_value"
WRITES = "fxq_writes"
SHARES = "fxq_shares"
REASON = "fxq_reason"
# why a value must not be held in int8: its memory is written later, or it is not finite
FLOAT_ONLY = "fxq_float_only"


@dataclass(frozen=True, slots=True)
class Value:
    """``kind`` is "tensor", "tensors" for a tuple of float32 ones, or the name of another type.

    The rest describes the tensor, or the first of several.
    """

    kind: str
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    contiguous: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether it is a float32 tensor, or a tuple of those."""
        return self.kind in ("tensor", "tensors") and self.dtype is torch.float32

    def __str__(self) -> str:
        return f"{self.dtype} {self.kind}" if self.dtype is not None else self.kind


NEVER_RAN = Value("nothing: the example never reached it")


def value_of(node: fx.Node) -> Value:
    """What a node of a captured graph computed on the example inputs; the batch size is the example's too."""
    value: Value = node.meta.get(KEY, NEVER_RAN)
    return value


def written_by(node: fx.Node) -> tuple[fx.Node, ...]:
    """The values that a node writes into, as seen on the example."""
    found: tuple[fx.Node, ...] = node.meta.get(WRITES, ())
    return found


def shared_by(node: fx.Node) -> tuple[fx.Node, ...]:
    """The inputs of a node that its result shares memory with, as seen on the example; all of them if it never ran."""
    found: tuple[fx.Node, ...] = node.meta.get(SHARES, tuple(node.all_input_nodes))
    return found


def describe(result: Any) -> Value:
    if isinstance(result, torch.Tensor) and result.layout is torch.strided:
        return Value("tensor", tuple(result.shape), result.dtype, result.is_contiguous())
    if isinstance(result, (tuple, list)) and result and {*map(type, result)} == {torch.Tensor}:
        first, *others = map(describe, result)
        if all(value.is_float for value in (first, *others)):
            return replace(first, kind="tensors")
    return Value(type(result).__name__)


class ValueRecorder(fx.Interpreter):
    """Runs a graph and leaves in each node's meta its ``Value``, and which of its inputs it writes into or shares
    memory with.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # or the model's own message is buried in torch.fx's

    def run_node(self, n: fx.Node) -> Any:
        before = {node: _versions(self.env[node]) for node in n.all_input_nodes}
        result = super().run_node(n)
        n.meta[KEY] = describe(result)
        if n.op == "get_attr" and isinstance(result, torch.Tensor) and not torch.isfinite(result).all():
            n.meta[FLOAT_ONLY] = f"the constant {n.target!r} is not finite"
        if n.op in ("call_function", "call_method") and _holds_infinity(result):
            n.meta[FLOAT_ONLY] = "it is infinite in places, as a mask is"
        memory = _memory(result)
        n.meta[SHARES] = tuple(node for node in n.all_input_nodes if memory & _memory(self.env[node]))
        n.meta[WRITES] = tuple(node for node, versions in before.items() if _versions(self.env[node]) != versions)
        return result


def _holds_infinity(result: Any) -> bool:
    """Whether some values are infinite by intent: others are not, and none is NaN."""
    if not isinstance(result, torch.Tensor) or not result.is_floating_point() or result.is_sparse:
        return False
    infinite = result.isinf()
    return bool(infinite.any() and not infinite.all() and not result.isnan().any())


def _memory(value: Any) -> set[int]:
    """Where the memory of each tensor in a value starts."""
    leaves = (leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided)
    return {leaf.untyped_storage().data_ptr() for leaf in leaves} - {0}


def _versions(value: Any) -> list[int]:
    """How often the memory of each tensor in a value was written; views count the writes to their base."""
    return [leaf._version for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor) and not leaf.is_inference()]
