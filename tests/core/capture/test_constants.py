"""What a graph computes from constants alone is a constant, unless it is random or written; results stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.quantizing import captured, int8, quantized, run

X = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, form: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form, self.conv = form, nn.Conv2d(4, 5, 3)
        self.token, self.used = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(6))
        self.register_buffer("index", torch.tensor([[0, 2], [1, 0]]))
        self.register_buffer("table", torch.randn(3, 5))
        self.register_buffer("state", torch.ones(6))

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


def graph_of(form: Callable[..., Any], x: torch.Tensor = X) -> Any:
    return captured(Net(form), x).root


def calls(root: Any) -> list[Any]:
    return [n.target for n in root.graph.nodes if n.op in ("call_function", "call_method")]


def standardized(m: Any, x: torch.Tensor) -> Any:
    variance, mean = torch.var_mean(m.conv.weight, (1, 2, 3), keepdim=True)
    return F.conv2d(x, (m.conv.weight - mean) / torch.sqrt(variance + 1e-5), m.conv.bias)


def test_a_standardized_weight_is_a_layer() -> None:
    root = graph_of(standardized)
    assert calls(root) == []
    called = [root.get_submodule(n.target) for n in root.graph.nodes if n.op == "call_module"]
    assert [type(module) for module in called] == [nn.Conv2d]
    assert int8(quantized(Net(standardized), X)) == ["conv2d"]


@pytest.mark.parametrize(
    ("form", "left"),
    [
        (lambda m, x: x + m.table[m.index.view(-1)].view(2, 2, 5).permute(2, 0, 1)[:4, :1, :1], 1),
        (lambda m, x: x * F.softmax(m.table, 1)[0, 0], 1),
        (lambda m, x: x + m.state.cumsum(0), 1),
        (lambda m, x: x * m.table.chunk(2, 1)[1][0, 0] + m.table.max(1)[1][0], 2),
        (lambda m, x: x + m.token.expand(2, -1, -1)[:, None], 1),
    ],
    ids=["relative position bias", "softmax", "positions", "pieces", "expanded"],
)
def test_it_is_computed_once(form: Any, left: int) -> None:
    assert len(calls(graph_of(form))) == left


def test_a_token_is_expanded_to_each_batch() -> None:
    def form(m: Any, x: torch.Tensor) -> Any:
        return torch.cat([m.token.expand(x.size(0), -1, -1), x[:, 0]], 1)

    root = graph_of(form)
    assert "expand" in calls(root)
    for batch in (1, 3):
        other = X[:1].repeat(batch, 1, 1, 1)
        assert torch.equal(run(root, other), run(Net(form), other))


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: x + torch.rand_like(m.state),
        lambda m, x: x + F.dropout(m.state, 0.5, True),
        lambda m, x: x + torch.bernoulli(m.state / 2),
        lambda m, x: x * m.state.div(2).bernoulli(),
    ],
)
def test_random_numbers_are_not_frozen(form: Any) -> None:
    root: Any = captured(Net(form), X).root
    assert not torch.equal(root(X), root(X))


def test_a_buffer_that_is_written_is_not_frozen() -> None:
    def plain(m: Any, x: torch.Tensor) -> Any:
        m.state.add_(1)
        return x + m.state * 2

    def view(m: Any, x: torch.Tensor) -> Any:
        m.state[1:].mul_(2)
        return x + m.state * 2

    def after(m: Any, x: torch.Tensor) -> Any:
        y = x + m.state * 2
        m.state.view(2, 3)[0].add_(1)
        return y

    for form in (plain, view, after):
        root, model = captured(Net(form), X).root, Net(form)
        for _ in range(3):
            torch.testing.assert_close(root(X), model(X))


def test_parameters_stay_where_they_are_used_and_go_where_they_are_not() -> None:
    def form(m: Any, x: torch.Tensor) -> Any:
        return m.conv(x).mean() + torch.erf(m.used * x) + m.table.sum()

    model = Net(form)
    state = quantized(model, X).state_dict()
    assert torch.equal(state["used"], model.used)
    assert "conv.weight" in state
    assert not {"table", "token", "index", "state"} & state.keys()


def test_a_folded_constant_has_memory_of_its_own() -> None:
    def form(m: Any, x: torch.Tensor) -> Any:
        return x + m.state.view(6), m.state

    model = Net(form)
    root: Any = captured(model, X).root
    memory = [t.data_ptr() for t in (*root.buffers(), *root.parameters())]
    assert len(memory) == len(set(memory))
    assert model.state.data_ptr() not in memory


def test_numbers_that_come_of_constants_are_right() -> None:
    captured(Net(lambda m, x: x * m.table.sum() + m.index.size(0) + m.index.numel() * m.table.dim()), X)
    captured(Net(lambda m, x: (x, m.table + 1, {"a": m.state * 2, "b": [m.state.max(0)[1]]})), X)
