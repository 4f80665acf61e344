"""Looking at the values of a graph, and at what comes to some of a model's modules."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from fxq_core.analysis.tap import Tap, first_calls


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never = Double(), Double()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor, by: float = 2.0) -> torch.Tensor:
        self.calls += 1
        y: torch.Tensor = self.twice(self.twice(x, by=by).add_(1))
        return y


class Double(nn.Module):
    def forward(self, x: torch.Tensor, by: float = 2.0) -> torch.Tensor:
        return x * by


def test_a_tap_sees_every_value_and_says_what_comes_next() -> None:
    graph = fx.symbolic_trace(Double())
    seen = []

    def look(node: fx.Node, value: torch.Tensor) -> torch.Tensor:
        seen.append((node.name, value))
        return value + 1 if node.name == "x" else value

    assert Tap(graph, graph.graph, look).run(3, 2) == 8
    assert seen == [("x", 3), ("by", 2), ("mul", 8), ("output", 8)]


def test_the_first_call_of_each_module_is_kept_in_memory_of_its_own() -> None:
    model, x = Twice(), torch.ones(2)
    calls = first_calls(model, {"one": model.twice, "two": model.never}, ((x,), {"by": 3.0}))
    assert list(calls) == ["one"]
    assert (calls["one"][0].tolist(), calls["one"][1]) == ([1.0, 1.0], 3.0)
    assert calls["one"][0] is not x
    assert model.calls == 0
    assert not model.twice._forward_pre_hooks


def test_a_call_that_fails_leaves_no_hooks() -> None:
    model = Twice()
    with pytest.raises(TypeError):
        first_calls(model, {"one": model.twice}, ((), {}))
    assert not model.twice._forward_pre_hooks
