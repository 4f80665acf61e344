"""A model of one function and constants of every dtype, what its graph calls, and what both compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from support.quantizing import captured, run

X = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
Form = Callable[..., Any]


class Net(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.register_buffer("shift", torch.tensor([[0.3], [-1.7], [2.9]]))
        self.register_buffer("counts", torch.tensor([[1], [2], [3]]))
        self.register_buffer("bytes", torch.tensor([[1], [2], [3]], dtype=torch.uint8))
        self.register_buffer("flags", torch.tensor([[True], [True], [True]]))
        self.register_buffer("tiny", torch.tensor([[1e-39], [0.0], [1.0]]))
        self.register_buffer("state", torch.ones(3, 1))

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


def ops(form: Form, x: torch.Tensor = X) -> list[Any]:
    """What the captured graph calls."""
    graph: Any = captured(Net(form), x).root
    return [node.target for node in graph.graph.nodes if node.op in ("call_function", "call_method")]


def same(form: Form, x: torch.Tensor = X) -> tuple[torch.Tensor, torch.Tensor]:
    """What the captured graph gives and what the model does."""
    return run(captured(Net(form), x).root, x), run(Net(form), x)
