"""What each node of a captured graph computes on the example inputs: kind, shape, dtype, layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

KEY = "fxq_value"
REASON = "fxq_reason"


@dataclass(frozen=True, slots=True)
class Value:
    """``kind`` is "tensor" or the name of another type; the rest describes a tensor."""

    kind: str
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    contiguous: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        return self.kind == "tensor" and self.dtype is torch.float32

    def __str__(self) -> str:
        return f"{self.dtype} tensor" if self.kind == "tensor" else self.kind


NEVER_RAN = Value("nothing: the example never reached it")


def value_of(node: fx.Node) -> Value:
    value: Value = node.meta.get(KEY, NEVER_RAN)
    return value


def describe(result: Any) -> Value:
    if isinstance(result, torch.Tensor) and result.layout is torch.strided:
        return Value("tensor", tuple(result.shape), result.dtype, result.is_contiguous())
    return Value(type(result).__name__)


class ValueRecorder(fx.Interpreter):
    """Runs a graph and leaves a ``Value`` in each node's meta."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # or the model's own message is buried in torch.fx's

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta[KEY] = describe(result)
        return result
