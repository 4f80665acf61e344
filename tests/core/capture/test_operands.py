"""Arithmetic with constants, in every form: sums and products of two tensors, or left alone; results stay the same."""

from __future__ import annotations

import math
import operator
from typing import Any

import pytest
import torch

from fxq_core import spellings as s
from fxq_core.capture.graphs import tensor_at

from support.operands import Form, Net, X, ops, same
from support.quantizing import captured

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
