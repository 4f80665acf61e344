"""What can't be traced stays as it is, alone: everything below and around it is captured."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.capture.tracer import is_layer, layer_graph, trace

from support.quantizing import captured, error, int8, patterns, quantized

CONTROL_FLOW = "TraceError: symbolically traced variables cannot be used as inputs to control flow"
X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


class Branch(nn.Module):
    """Control flow that depends on data, over layers or over another such module."""

    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.other, self.inner = nn.Linear(4, 4), nn.Linear(4, 4), inner or nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        if x.sum() > 1e6:
            return self.other(x)
        return self.inner(x)


WHERE = f"it can't be traced: {Path(__file__).name}:{inspect.getsourcelines(Branch.forward)[1] + 2}: {CONTROL_FLOW}"
UNREACHED = "the example never reached it"


def test_control_flow_in_the_root() -> None:
    torch.manual_seed(0)
    model = Branch()
    result = captured(model, X)
    assert result.left == {"": WHERE, "other": UNREACHED}
    assert sorted(result.parts) == ["first", "inner"]
    lowered = quantized(model, X)
    assert int8(lowered) == ["linear"] * 2
    assert error(model, lowered, X) < 0.05


def test_control_flow_in_a_child_and_in_its_child() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), Branch(nn.Sequential(Branch(), nn.Linear(4, 4))), nn.ReLU())
    result = captured(model, X)
    assert result.left == {"1": WHERE, "1.other": UNREACHED, "1.inner.0": WHERE, "1.inner.0.other": UNREACHED}
    assert sorted(result.parts) == ["", "1.first", "1.inner", "1.inner.0.first", "1.inner.0.inner"]
    lowered = quantized(model, X)
    assert int8(lowered) == ["linear"] * 5
    assert error(model, lowered, X) < 0.05


def test_both_branches_are_right_after_calibrating_both() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.high = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.low(x) if x.mean() < 0 else self.high(x)

    torch.manual_seed(0)
    model, positive, negative = Gate().eval(), X.abs(), -X.abs()
    lowered = quantized(model, positive, negative)
    assert patterns(lowered) == {"layer": "linear"}  # the other was not in the example and stays float
    assert error(model, lowered, positive) < 0.05
    assert error(model, lowered, negative) == 0


def test_a_root_that_uses_what_it_finds_on_its_children() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.gain = nn.Linear(4, 4), 3.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Scaled()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 1e6 else self.body(x) * self.body.gain

    torch.manual_seed(0)
    model = Root().eval()
    lowered = quantized(model, X)
    assert patterns(lowered) == {"layer": "linear"}
    assert error(model, lowered, X) < 0.05


@pytest.mark.parametrize(
    ("layer", "call"),
    [
        (nn.MultiheadAttention(4, 2, batch_first=True), lambda m, x: m(x, x, x)[0]),
        (nn.Bilinear(4, 4, 4), lambda m, x: m(x, x)),
        (nn.LSTM(4, 4, batch_first=True), lambda m, x: m(x, (torch.zeros(1, 4), torch.zeros(1, 4)))[0]),
        (nn.Linear(4, 4), lambda m, x: F.linear(x, m.weight)),
        (nn.Linear(4, 4), lambda m, x: m(input=x) * m.weight.sum()),
    ],
)
def test_one_layer_that_is_called_in_its_own_way_costs_only_itself(layer: nn.Module, call: Any) -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.layer, self.last = nn.Linear(4, 4), layer, nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return x if x.sum() > 1e6 else self.last(call(self.layer, x))

    torch.manual_seed(0)
    model = Root().eval()
    lowered = quantized(model, X)
    assert int8(lowered).count("linear") >= 2
    assert error(model, lowered, X) < 0.05


def test_a_layer_with_two_names_under_an_untraceable_root() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4)
            self.two = self.one

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 1e6 else self.two(self.one(x))

    torch.manual_seed(0)
    model = Root().eval()
    lowered = quantized(model, X)
    assert error(model, lowered, X) < 0.05


def test_a_shared_module_is_captured_where_it_is_called() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
            self.alias = self.one

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.alias(self.one(x)) + self.one(x)

    torch.manual_seed(0)
    model = Root()
    assert list(captured(model, X).parts) == [""]
    assert error(model, quantized(model, X), X) < 0.05


def test_a_layer_is_one_op_of_torch() -> None:
    class Own(nn.Conv2d):
        pass

    assert is_layer(nn.Conv2d(1, 1, 1))
    assert is_layer(nn.MultiheadAttention(4, 2))
    for other in (nn.Sequential(), nn.ModuleList(), nn.ModuleDict(), nn.ParameterList(), Own(1, 1, 1)):
        assert not is_layer(other)
    graph_module, left = trace(nn.Sequential(nn.Sequential(nn.ReLU())), {}, {})
    assert ([n.target for n in graph_module.graph.nodes][1], left) == ("0.0", {})
    assert [n.op for n in layer_graph(nn.ReLU()).graph.nodes] == ["placeholder", "call_module", "output"]


def test_a_bias_that_is_absent_stays_so() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))
            self.register_parameter("bias", None)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = F.linear(x, self.weight, self.bias)
            return y if self.bias is None else y + 1

    model, x = Functional().eval(), torch.randn(2, 4)
    result = captured(model, x)
    assert not result.left
    assert torch.equal(result.root(x), model(x))


def test_a_buffer_made_while_tracing_is_not_mistaken_for_one_that_was_there() -> None:
    class Replacing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.register_buffer("offset", torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            before = self.offset
            self.offset = torch.full((4,), 2.0)
            return self.layer(x) + before + self.offset

    torch.manual_seed(0)
    model, x = Replacing().eval(), torch.randn(2, 4)
    assert torch.allclose(captured(model, x).root(x), model(x))
