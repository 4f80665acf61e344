"""Matching: which chains of nodes a pattern stands on, and which of several matches is taken."""

from __future__ import annotations

import dataclasses
import functools
import operator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import fx, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

import fxq_core as fxq
from fxq_core.capture import capture
from fxq_core.discovery import Plugin
from fxq_core.matching import Matches, find_matches
from fxq_core.reference import REFERENCE, emit_any
from fxq_core.registry import merge

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
EVERYTHING = fxq.Lowering(engine="reference", pattern="*", emit=emit_any)


def registry(*patterns: fxq.Pattern, lowerings: tuple[fxq.Lowering, ...] = (EVERYTHING,)) -> fxq.Registry:
    """A registry of these patterns alone, each from a distribution that is named like it."""
    provided = [
        Plugin(who, {"fxq_patterns": (dataclasses.replace(pattern, provider=who),)})
        for pattern in patterns
        for who in (fxq.Provider(f"fxq-{pattern.name}", "1.0", pattern.name),)
    ]
    return merge([*provided, Plugin(fxq.Provider("t", "", "t"), {"fxq_lowerings": lowerings})], strict=True)


def match(model: nn.Module | fx.GraphModule, *patterns: fxq.Pattern, **how: Any) -> Matches:
    part = model if isinstance(model, fx.GraphModule) else capture(model.eval(), ((X,), {})).parts[""]
    return find_matches("", part, registry(*patterns, **how), REFERENCE, lambda m: None)


def found(model: nn.Module, *patterns: fxq.Pattern, **how: Any) -> list[tuple[str, ...]]:
    """The chosen matches, each as its pattern's name and its nodes."""
    chosen = match(model, *patterns, **how).chosen.values()
    return sorted((c.match.pattern.name, *(node.name for node in c.match.nodes)) for c in chosen)


class Net(nn.Module):
    """Two convolutions whose results a function joins."""

    def __init__(self, function: Any = None) -> None:
        super().__init__()
        self.conv, self.other, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.ReLU()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


class Special(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


CONV, RELU = fxq.Pattern("conv", nn.Conv2d), fxq.Pattern("relu", {nn.ReLU, F.relu, torch.relu, "relu"})
CONV_RELU = fxq.Pattern("conv_relu", (nn.Conv2d, {nn.ReLU, F.relu, torch.relu, "relu"}))
CONV_ADD = fxq.Pattern("conv_add", (nn.Conv2d, {operator.add, torch.add, "add"}))


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


def test_the_longest_wins_then_the_priority_then_the_position() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    short, high = fxq.Pattern("short", nn.ReLU, priority=9), fxq.Pattern("high", (nn.ReLU, nn.Tanh), priority=1)
    assert found(chain, short, CONV_RELU) == [("conv_relu", "_0", "_1")]
    assert found(chain, CONV_RELU, high, CONV) == [("conv", "_0"), ("high", "_1", "_2")]
    low = dataclasses.replace(high, name="low", priority=0)
    assert found(chain, CONV_RELU, low, CONV) == [("conv_relu", "_0", "_1")]
    assert found(chain, high, low) == [("high", "_1", "_2")]


def test_a_tie_is_an_error_that_names_both_distributions() -> None:
    relu, twin = fxq.Pattern("relu", nn.ReLU), fxq.Pattern("twin", {nn.ReLU, "relu"})
    with pytest.raises(fxq.PluginConflictError) as caught:
        found(nn.Sequential(nn.ReLU()), twin, relu)
    assert str(caught.value) == (
        "pattern 'relu' of fxq-relu 1.0 and pattern 'twin' of fxq-twin 1.0 both match node '_0' of module '0' with "
        "priority 0: give one of them a higher priority, uninstall one of them, or block it with "
        "load_plugins(block=('fxq-twin',))"
    )


def test_ties_that_a_longer_match_settles_are_none() -> None:
    twin = fxq.Pattern("twin", {nn.ReLU, "relu"})
    assert found(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), RELU, twin, CONV_RELU) == [("conv_relu", "_0", "_1")]


ALL = (
    CONV, RELU, CONV_RELU, CONV_ADD, fxq.Pattern("add", {operator.add}), fxq.Pattern("tanh", torch.tanh, priority=3),
    fxq.Pattern("relu_tanh", ({nn.ReLU, F.relu}, torch.tanh)), fxq.Pattern("loser", nn.ReLU, priority=-1),
)  # fmt: skip


@functools.cache
def captured() -> fx.GraphModule:
    busy = Net(lambda n, x: torch.tanh(n.relu(n.conv(x) + n.other(x))) + n.relu(n.conv(x)))
    return capture(busy.eval(), ((X,), {})).parts[""]


@settings(max_examples=50, deadline=None)
@given(st.permutations(ALL))
def test_the_order_of_registration_does_not_matter(patterns: list[fxq.Pattern]) -> None:
    part = captured()
    assert found(part, *patterns) == found(part, *ALL)
    assert match(part, *patterns).refused == match(part, *ALL).refused


def lowering(name: str, **how: Any) -> fxq.Lowering:
    return fxq.Lowering(engine="reference", pattern=name, emit=emit_any, **how)


def test_a_pattern_without_a_lowering_never_beats_one_that_has() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    only = (lowering("conv"), lowering("relu"))
    assert found(chain, CONV, RELU, CONV_RELU, lowerings=only) == [("conv", "_0"), ("relu", "_1")]
    refused = match(chain, CONV, CONV_RELU, lowerings=only[:1]).refused
    assert {n.name: r.reason for n, r in refused.items()} == {
        "_1": "engine 'reference' has no lowering for pattern 'conv_relu'"
    }


def test_whoever_rejects_says_why_and_the_next_best_is_taken() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    by_pattern = dataclasses.replace(CONV_RELU, reject=lambda m: f"{len(m.nodes)} are too many")
    assert found(chain, CONV, by_pattern) == [("conv", "_0")]
    (refusal,) = match(chain, CONV, by_pattern).refused.values()
    assert (refusal.reason, refusal.provider) == ("2 are too many", "fxq-conv_relu 1.0")
    who = fxq.Provider("fxq-tpu", "2.0", "tpu")
    by_engine = (lowering("conv"), lowering("conv_relu", reject=lambda m: "it is odd", provider=who))
    assert found(chain, CONV, CONV_RELU, lowerings=by_engine) == [("conv", "_0")]
    (refusal,) = match(chain, CONV, CONV_RELU, lowerings=by_engine).refused.values()
    assert (refusal.reason, refusal.provider) == ("it is odd", "fxq-tpu 2.0")


@pytest.mark.parametrize("side", ["pattern", "lowering"])
def test_a_rejection_that_fails_names_its_distribution_and_a_way_on(side: str) -> None:
    def reject(m: fxq.Match) -> str | None:
        raise KeyError("groups")

    pattern = dataclasses.replace(CONV, reject=reject if side == "pattern" else None)
    low = lowering("conv", reject=reject if side == "lowering" else None, provider=fxq.Provider("fxq-tpu", "2.0", ""))
    with pytest.raises(fxq.PluginError) as caught:
        found(nn.Sequential(nn.Conv2d(3, 4, 3)), pattern, lowerings=(low,))
    who = "fxq-conv 1.0: the pattern" if side == "pattern" else "fxq-tpu 2.0: the lowering of pattern"
    assert str(caught.value) == (
        f"{who} 'conv' failed to accept or reject node '_0' of module '0' with KeyError: 'groups'; skip the node with "
        "Config(skip=('conv',)) until the plugin is mended"
    )
