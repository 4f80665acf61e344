"""Arithmetic with constants, in every form: sums and products of two tensors, or left alone; results stay the same."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fxq_core import spellings as s
from fxq_core.capture.graphs import tensor_at

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


NUMBERS: list[float] = [2, -3, 0.1, 1e-3, 0, math.inf, 2**31]
EXACT: dict[str, Form] = {
    "x + c": lambda x, c: x + c,
    "c + x": lambda x, c: c + x,
    "x - c": lambda x, c: x - c,
    "c - x": lambda x, c: c - x,
    "x * c": lambda x, c: x * c,
    "c * x": lambda x, c: c * x,
    "torch.add": torch.add,
    "torch.add by name": lambda x, c: torch.add(input=x, other=c),
    "torch.sub": torch.sub,
    "torch.subtract": torch.subtract,
    "torch.mul": torch.mul,
    "torch.multiply": torch.multiply,
    ".add": lambda x, c: x.add(c),
    ".sub": lambda x, c: x.sub(c),
    ".sub by name": lambda x, c: x.sub(other=c),
    ".mul": lambda x, c: x.mul(c),
    ".subtract": lambda x, c: x.subtract(c),
    ".multiply": lambda x, c: x.multiply(c),
    ".__radd__": lambda x, c: x.__radd__(c),
    "in place": lambda x, c: operator.iadd(x.clone(), c),
    ".mul_": lambda x, c: x.clone().mul_(c),
    ".sub_": lambda x, c: x.clone().sub_(c),
}
DIVISIONS: dict[str, Form] = {
    "x / c": lambda x, c: x / c,
    "torch.div": torch.div,
    "torch.divide": lambda x, c: torch.divide(x, c),
    "torch.true_divide": torch.true_divide,
    ".div": lambda x, c: x.div(c),
    ".div by name": lambda x, c: x.div(other=c),
    ".true_divide": lambda x, c: x.true_divide(c),
    ".div_": lambda x, c: x.clone().div_(c),
}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", EXACT)
def test_sums_and_products_with_a_number_are_exact(name: str, number: float) -> None:
    found, wanted = same(lambda m, x: EXACT[name](x, number))
    assert torch.equal(found, wanted) or (math.isinf(number) and torch.equal(found.isnan(), wanted.isnan()))
    assert found.dtype is wanted.dtype


@pytest.mark.parametrize("name", EXACT)
def test_they_take_two_tensors_and_subtract_nothing_constant(name: str) -> None:
    def form(m: Any, x: torch.Tensor) -> Any:
        return EXACT[name](x, 2.5)

    graph: Any = captured(Net(form), X).root
    (call,) = (n for n in graph.graph.nodes if n.target in s.ADD | s.SUB | s.MUL)
    assert call.target not in s.SUB or name == "c - x"
    assert (len(call.args), call.kwargs) == (2, {})
    (constant,) = (tensor for a in call.args if (tensor := tensor_at(graph, a)) is not None)
    assert constant.tolist() == [-2.5 if "sub" in name or name == "x - c" else 2.5]


@pytest.mark.parametrize("number", [2, -3, 0.1, 1e-3, 3e30, 2**31])
@pytest.mark.parametrize("name", DIVISIONS)
def test_a_division_is_a_product_within_two_roundings(name: str, number: float) -> None:
    found, wanted = same(lambda m, x: DIVISIONS[name](x, number))
    torch.testing.assert_close(found, wanted, rtol=2**-22, atol=0)
    targets = set(ops(lambda m, x: DIVISIONS[name](x, number)))
    assert targets & s.MUL
    assert not targets & s.DIV


@pytest.mark.parametrize("number", [0, 0.0, -0.0, 1e-39, 1e-46, 1e38, 1e39, math.inf])
def test_a_divisor_whose_inverse_is_no_ordinary_number_stays_one(number: float) -> None:
    found, wanted = same(lambda m, x: x / number)
    assert torch.equal(found, wanted)
    assert not set(ops(lambda m, x: x / number)) & s.MUL


def test_a_number_is_divided_as_it_is_written() -> None:
    found, wanted = same(lambda m, x: 2 / x)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("form", "op"),
    [
        (lambda m, x: x + m.shift, s.ADD),
        (lambda m, x: m.shift + x, s.ADD),
        (lambda m, x: x - m.shift, s.ADD),
        (lambda m, x: m.shift - x, s.SUB),
        (lambda m, x: x * m.shift, s.MUL),
        (lambda m, x: x.sub(m.shift), s.ADD),
    ],
)
def test_tensors_that_are_constants(form: Form, op: Any) -> None:
    found, wanted = same(form)
    assert torch.equal(found, wanted)
    (target,) = ops(form)
    assert target in op


def test_a_division_by_a_constant_tensor_is_a_product() -> None:
    found, wanted = same(lambda m, x: x / m.shift)
    torch.testing.assert_close(found, wanted, rtol=2**-22, atol=0)
    assert set(ops(lambda m, x: x / m.shift)) <= s.MUL


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: x - m.counts,
        lambda m, x: m.counts - x,
        lambda m, x: x + m.counts,
        lambda m, x: x * m.counts,
        lambda m, x: x / m.counts,
        lambda m, x: m.counts / x,
        lambda m, x: x - (m.counts > 1).float(),
        lambda m, x: x * (m.counts > 1),
        lambda m, x: x + (m.counts > 1),
        lambda m, x: x - m.bytes,
        lambda m, x: x.sub(m.bytes),
        lambda m, x: x / m.bytes,
        lambda m, x: x / m.flags,
        lambda m, x: x / m.tiny,
    ],
)
def test_tensors_of_other_dtypes(form: Form) -> None:
    found, wanted = same(form)
    torch.testing.assert_close(found, wanted, rtol=2**-22, atol=0)


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: x + True,
        lambda m, x: True * x,
        lambda m, x: torch.add(x, 2, alpha=3),
        lambda m, x: x.sub(2, alpha=3),
        lambda m, x: torch.sub(x, m.shift, alpha=-2),
        lambda m, x: torch.div(x, 0.3, rounding_mode="floor"),
        lambda m, x: x.div(0.3, rounding_mode="trunc"),
        lambda m, x: x // 0.3,
        lambda m, x: x.argmax(1) + 2,
        lambda m, x: x.argmax(1) - m.counts[:2],
        lambda m, x: x.argmax(1) / 2,
        lambda m, x: x.argmax(1) + 0.5,
        lambda m, x: x.double() + 2,
        lambda m, x: x + 2j,
        lambda m, x: x.shape[0] + 2 + x.size(1) * 3,
        lambda m, x: (x > 0) * 2,
    ],
)
def test_the_rest_stays_as_it_is(form: Form) -> None:
    found, wanted = same(form)
    assert (found == wanted).all() if isinstance(found, torch.Tensor) else found == wanted
    graph: Any = captured(Net(form), X).root
    assert not any("constant" in str(node.target) for node in graph.graph.nodes if node.op == "get_attr")


def test_a_result_that_is_written_elsewhere() -> None:
    found, wanted = same(lambda m, x: torch.add(x, 2, out=torch.empty(2, 3, 4)))
    assert torch.equal(found, wanted)


def test_a_buffer_that_is_written_is_read_anew() -> None:
    def form(m: Any, x: torch.Tensor) -> Any:
        y = x - m.state
        m.state.mul_(2)
        return y / m.state

    root, model = captured(Net(form), X).root, Net(form)
    for _ in range(3):
        torch.testing.assert_close(root(X), model(X), rtol=2**-22, atol=2**-22)


REDUCED: dict[str, tuple[Form, Any]] = {
    "max [0]": (lambda m, x: x.max(1)[0], torch.amax),
    "max values": (lambda m, x: x.max(1).values, torch.amax),
    "max keepdim": (lambda m, x: torch.max(x, 2, keepdim=True)[0], torch.amax),
    "max by name": (lambda m, x: torch.max(input=x, dim=-1).values, torch.amax),
    "max numpy": (lambda m, x: x.max(axis=1, keepdims=True)[0], torch.amax),
    "min [0]": (lambda m, x: x.min(0)[0], torch.amin),
    "min values": (lambda m, x: torch.min(x, dim=1).values, torch.amin),
}


@pytest.mark.parametrize("name", REDUCED)
def test_an_extreme_of_which_only_the_values_are_taken_is_a_reduction(name: str) -> None:
    form, reduction = REDUCED[name]
    found, wanted = same(form)
    assert torch.equal(found, wanted)
    assert ops(form) == [reduction]


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: tuple(x.max(1)),
        lambda m, x: x.max(1)[1],
        lambda m, x: x.min(1).indices,
        lambda m, x: (x.max(1).values, x.max(1).indices),
        lambda m, x: x.max(),
        lambda m, x: x.max()[None],
        lambda m, x: torch.max(x, m.shift),
        lambda m, x: torch.max(x, m.shift)[0],
        lambda m, x: torch.min(x, other=m.shift)[0],
        lambda m, x: x.argmax(1).max(1)[0],
    ],
)
def test_the_other_extremes(form: Form) -> None:
    found, wanted = same(form)
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    assert all(torch.equal(one, other) for one, other in pairs)


def test_values_and_indices_of_one_extreme() -> None:
    def form(m: Any, x: torch.Tensor) -> Any:
        best = x.max(1)
        return F.relu(best[0]), best[1]

    (values, indices), (wanted, places) = same(form)
    assert torch.equal(values, wanted)
    assert torch.equal(indices, places)
