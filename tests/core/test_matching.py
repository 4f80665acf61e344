"""Matching: which chains of nodes a pattern stands on."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

import fxq_core as fxq

from support.matching import CONV, CONV_ADD, CONV_RELU, Net, found, match


class Special(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


def test_modules_match_by_exact_type() -> None:
    net = nn.Sequential(nn.Linear(6, 6), NonDynamicallyQuantizableLinear(6, 6))
    assert isinstance(net[1], nn.Linear)
    assert found(net, fxq.Pattern("linear", nn.Linear)) == [("linear", "_0")]


def test_of_a_subclass_with_a_forward_of_its_own_every_op_counts() -> None:
    add = fxq.Pattern("add", operator.add)
    assert found(nn.Sequential(Special(3, 4, 3)), CONV, add) == [("add", "add"), ("conv", "conv2d")]


@pytest.mark.parametrize(
    "function",
    [
        lambda n, x: n.relu(n.conv(x)),
        lambda n, x: F.relu(n.conv(input=x)),
        lambda n, x: torch.relu(input=n.conv(x)),
        lambda n, x: n.conv(x).relu(),
        lambda n, x: n.relu(input=n.conv(x)),
    ],
)
def test_every_spelling_matches_also_with_keywords(function: Any) -> None:
    ((name, first, second),) = found(Net(function), CONV_RELU)
    assert (name, first) == ("conv_relu", "conv")
    assert second.startswith("relu")


def test_a_name_that_an_op_happens_to_have_is_no_spelling() -> None:
    """The placeholder, the attribute and the module here are all called like a method."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("sigmoid", torch.ones(1))
            self.add = nn.Tanh()

        def forward(self, relu: torch.Tensor) -> torch.Tensor:
            return self.add(relu) * self.sigmoid

    assert found(Named(), fxq.Pattern("method", {"relu", "add", "sigmoid"})) == []


@pytest.mark.parametrize(
    "function",
    [
        lambda n, x: (c := n.conv(x), F.relu(c) + c)[1],
        lambda n, x: (c := n.conv(x), (F.relu(c), c))[1],
    ],
)
def test_a_value_used_elsewhere_is_not_inside_a_match(function: Any) -> None:
    assert found(Net(function), CONV_RELU, CONV) == [("conv", "conv")]


@pytest.mark.parametrize(
    "function",
    [
        lambda n, x: (c := n.conv(x), c + c)[1],
        lambda n, x: (c := n.conv(x), torch.add(c, c))[1],
        lambda n, x: (c := n.conv(x), torch.add(c, other=c))[1],
        lambda n, x: (c := n.conv(x), torch.add(input=c, other=c))[1],
    ],
)
def test_an_op_that_takes_a_value_twice_uses_it_twice(function: Any) -> None:
    assert found(Net(function), CONV_ADD) == []
    ((_, candidate),) = match(Net(function), fxq.Pattern("add", {operator.add, torch.add})).chosen.items()
    assert [node.name for node in candidate.match.inputs] == ["conv", "conv"]


@pytest.mark.parametrize(
    "function",
    [
        lambda n, x: n.conv(x) + torch.tanh(n.other(x)),
        lambda n, x: torch.tanh(n.other(x)) + n.conv(x),
        lambda n, x: torch.add(torch.tanh(n.other(x)), other=n.conv(x)),
    ],
)
def test_a_chain_may_enter_at_either_operand_and_the_other_is_an_input(function: Any) -> None:
    ((_, candidate),) = match(Net(function), CONV_ADD).chosen.items()
    assert [node.name for node in candidate.match.nodes] == ["conv", "add"]
    assert [node.name for node in candidate.match.inputs] == ["x", "tanh"]
    assert [type(module) for module in candidate.match.modules] == [nn.Conv2d, type(None)]
    assert candidate.match.output.name == "add"


def test_where_both_operands_fit_the_first_in_the_graph_is_taken() -> None:
    for function in (lambda n, x: n.conv(x) + n.other(x), lambda n, x: (c := n.conv(x), n.other(x) + c)[1]):
        assert found(Net(function), CONV_ADD, CONV) == [("conv", "other"), ("conv_add", "conv", "add")]


def test_integers_and_flags_are_no_inputs() -> None:
    ((_, candidate),) = match(Net(lambda n, x: n.conv(x).add(x.size(0))), CONV_ADD).chosen.items()
    assert [node.name for node in candidate.match.inputs] == ["x"]
