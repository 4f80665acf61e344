"""What the settings of a rule do to the plan and to the lowered model."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.reference import REFERENCE

from support.blocks import BATCH, make_net, plan_with, refusal
from support.distributions import load


def quantized(plan: fxq.Plan) -> set[str]:
    return {v.node for v in plan.verdicts if v.quantized}


def test_a_dtype_undoes_a_less_specific_skip(core: fxq.Registry) -> None:
    assert quantized(plan_with(core, fxq.Rule("head", dtype="int8"), skip=("*",))) == {"head"}
    # a rule for the convolution is none for its activation
    assert quantized(plan_with(core, fxq.Rule("blocks.0.conv", dtype="int8"), skip=("*",))) == {"blocks_0_conv"}
    assert "head" not in quantized(plan_with(core, fxq.Rule("*", dtype="int8"), skip=("head",)))


@pytest.mark.parametrize("selector", ["blocks.0", nn.Linear, "sigmoid"])
def test_skip_is_short_for_a_rule(core: fxq.Registry, selector: Any) -> None:
    assert plan_with(core, fxq.Rule(selector, dtype="float")).verdicts == plan_with(core, skip=(selector,)).verdicts


def lower(registry: fxq.Registry, *rules: fxq.Rule, net: Any = None, batch: Any = BATCH) -> Any:
    net = make_net() if net is None else net
    return fxq.quantize(net, [batch], "reference", fxq.Config(rules=rules), registry)


def test_a_weight_may_have_one_scale(core: fxq.Registry) -> None:
    net = make_net()
    lowered = lower(core, fxq.Rule("blocks", weight="per-tensor"), fxq.Rule("blocks.1", weight="per-channel"))
    conv, other = lowered.get_submodule("blocks.0.conv"), lowered.get_submodule("blocks.1.conv")
    weight = net.get_submodule("blocks.0.conv").weight.detach()
    scale = weight.abs().max() / 127
    assert torch.equal(conv.weight_scale, scale)
    assert torch.equal(conv.weight, torch.round(weight / scale).to(torch.int8))
    assert other.weight_scale.shape == (4,)
    assert lowered.head.weight_scale.shape == (2,)
    reasons = {row.node: row.reason for row in fxq.report(lowered).rows}
    assert reasons["blocks_0_act"] == "the config sets weight='per-tensor'"
    assert reasons["head"] == ""


def test_a_weight_may_have_another_observer(core: fxq.Registry) -> None:
    net = nn.Linear(512, 64).eval()
    with torch.no_grad():
        net.weight[0, 0] = 1.0  # far out
    how: Any = {"net": net, "batch": torch.ones(2, 512)}
    cut = lower(core, fxq.Rule("linear", weight="per-tensor", weight_observer="histogram"), **how)
    whole = lower(core, fxq.Rule("linear", weight="per-tensor"), **how)
    scales = [next(b for n, b in model.named_buffers() if n.endswith("weight_scale")) for model in (cut, whole)]
    assert scales[0] < scales[1]


def test_the_plan_holds_what_is_wanted_of_each_weight(core: fxq.Registry) -> None:
    part = plan_with(core, fxq.Rule(nn.Linear, weight="per-tensor")).parts[0]
    wanted = {node.name: spec for node, spec in part.weights.items()}
    per_channel = REFERENCE.weight
    assert wanted == {
        "blocks_0_act": per_channel,
        "blocks_1_act": per_channel,
        "head": dataclasses.replace(per_channel, axis=None),
    }


def test_an_observer_that_has_no_channels_is_refused_for_them(core: fxq.Registry) -> None:
    assert refusal(core, fxq.Rule("head", weight_observer="histogram")) == (
        "Rule('head', weight_observer='histogram') can't observe the weight of node 'head', which is per-channel "
        "(ValueError: a histogram has one range for the whole tensor; use 'minmax' for channels); "
        "take another weight_observer or weight scheme"
    )


UP = {"net": nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.Conv2d(4, 2, 1)).eval(), "batch": BATCH}


def test_a_transposed_convolution_always_has_one_scale(core: fxq.Registry) -> None:
    lowered = lower(core, fxq.Rule("*", weight="per-channel"), **UP)
    assert lowered.get_submodule("0").weight_scale.dim() == 0
    assert lowered.get_submodule("1").weight_scale.dim() == 1
    # so an observer without channels will do
    plan = plan_with(core, fxq.Rule("0", weight_observer="histogram"), **UP)
    assert [spec.observer for spec in plan.parts[0].weights.values()] == ["histogram", "minmax"]


IDLE_OBSERVER = "the int8 nodes that it selects keep the range of their inputs, or have a fixed one; drop it"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (
            fxq.Rule("sigmoid", observer="minmax"),
            f"Rule('sigmoid', observer='minmax') sets observer without effect: {IDLE_OBSERVER}",
        ),
        (
            fxq.Rule("mean", observer="minmax"),
            f"Rule('mean', observer='minmax') sets observer without effect: {IDLE_OBSERVER}",
        ),
        (
            fxq.Rule(nn.ReLU, weight="per-tensor"),
            "Rule(ReLU, weight='per-tensor') sets weight without effect: no int8 node that it selects has a weight "
            "that could have this scheme; drop it",
        ),
        (
            fxq.Rule("sigmoid", weight_observer="minmax"),
            "Rule('sigmoid', weight_observer='minmax') sets weight_observer without effect: no int8 node that it "
            "selects has a weight; drop it",
        ),
    ],
)
def test_a_setting_that_nothing_can_heed_is_an_error(rule: fxq.Rule, text: str, core: fxq.Registry) -> None:
    assert refusal(core, rule) == text


def test_one_scale_for_each_channel_of_transposed_convolutions_alone_is_an_error(core: fxq.Registry) -> None:
    assert refusal(core, fxq.Rule("0", weight="per-channel"), **UP) == (
        "Rule('0', weight='per-channel') sets weight without effect: no int8 node that it selects has a weight that "
        "could have this scheme; drop it"
    )


def test_an_engine_says_which_dtype_and_scheme_it_takes() -> None:
    plain = dataclasses.replace(REFERENCE, weight=dataclasses.replace(REFERENCE.weight, axis=None), name="plain")
    registry = load(plugins=[types.SimpleNamespace(fxq_engines=fxq.hookimpl(lambda: [plain]))])
    provider = registry.engines["plain"].provider
    for rule, text in (
        (
            fxq.Rule("0", weight="per-channel"),
            f"Rule('0', weight='per-channel') asks for another scheme than engine 'plain' of {provider} takes: "
            "'per-tensor'",
        ),
        (
            fxq.Rule("0", dtype="int4"),
            f"Rule('0', dtype='int4') asks for another dtype than engine 'plain' of {provider} takes: "
            "'int8' or 'float'",
        ),
    ):
        with pytest.raises(fxq.ConfigError) as caught:
            fxq.Quantizer(nn.Linear(2, 2).eval(), torch.ones(1, 2), "plain", fxq.Config(rules=(rule,)), registry)
        assert str(caught.value) == text


class Untraceable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 1e9 else x


def test_what_was_left_or_folded_by_capture_may_be_selected(core: fxq.Registry) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), Untraceable()).eval()
    plan_with(core, skip=("1", "2", Untraceable), net=net)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x).relu())


def test_a_layer_that_is_called_twice_may_have_two_schemes(core: fxq.Registry) -> None:
    lowered = lower(core, fxq.Rule("linear", weight="per-tensor"), net=Twice().eval(), batch=torch.rand(2, 3))
    scales = [value.dim() for name, value in lowered.named_buffers() if name.endswith("weight_scale")]
    assert sorted(scales) == [0, 1]
