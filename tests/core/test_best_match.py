"""Matching: which of several matches is taken, and what is said of the others."""

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

import fxq_core as fxq
from fxq_core.capture import capture
from fxq_core.reference import emit_any

from support.matching import CONV, CONV_ADD, CONV_RELU, RELU, Net, X, found, match


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
