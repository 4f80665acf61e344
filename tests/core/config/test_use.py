"""What users may select, and what they are told where a selection is a mistake."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq

from support.blocks import BATCH, make_net, plan_with, refusal


@pytest.fixture
def net() -> nn.Module:
    return make_net()


def floats(net: nn.Module, core: fxq.Registry, *skip: Any) -> dict[str, str]:
    """The nodes that ``skip`` leaves in float, with the reason."""
    plan = fxq.Quantizer(net, BATCH, "reference", fxq.Config(skip=skip), core).plan
    return {v.node: v.reason for v in plan.verdicts if not v.quantized and v.provider == "the config"}


FIRST = {"blocks_0_conv", "blocks_0_act", "sigmoid"}
SECOND = {"blocks_1_conv", "blocks_1_act", "sigmoid_1"}


def is_head(match: fxq.Match) -> bool:
    return match.output.name == "head"


@pytest.mark.parametrize(
    ("selector", "nodes", "text"),
    [
        ("head", {"head"}, "'head'"),
        ("blocks.1.conv", {"blocks_1_conv"}, "'blocks.1.conv'"),
        ("blocks.*.conv", {"blocks_0_conv", "blocks_1_conv"}, "'blocks.*.conv'"),
        ("*.conv", {"blocks_0_conv", "blocks_1_conv"}, "'*.conv'"),
        ("blocks.[0]", FIRST, "'blocks.[0]'"),
        ("blocks.0", FIRST, "'blocks.0'"),
        ("blocks", FIRST | SECOND, "'blocks'"),
        (nn.Linear, {"head"}, "Linear"),
        ("linear", {"head"}, "'linear'"),
        ("sigmoid", {"sigmoid", "sigmoid_1"}, "'sigmoid'"),
        (is_head, {"head"}, "is_head"),
    ],
)
def test_what_is_skipped_stays_float(selector: Any, nodes: set[str], text: str, net: nn.Module, core: Any) -> None:
    found = floats(net, core, selector)
    assert found.keys() == nodes
    assert set(found.values()) == {f"the config skips {text}"}


def test_one_pattern_may_be_skipped_for_a_shorter_one(net: nn.Module, core: fxq.Registry) -> None:
    plan = fxq.Quantizer(net, BATCH, "reference", fxq.Config(skip=("conv2d_clamp",)), core).plan
    verdicts = {v.node: v for v in plan.verdicts}
    assert verdicts["blocks_0_conv"].pattern == "conv2d"
    assert verdicts["blocks_0_act"].pattern == "clamp"


def test_skipping_everything_leaves_the_model_as_it_computed(net: nn.Module, core: fxq.Registry) -> None:
    lowered = fxq.quantize(net, [BATCH], "reference", fxq.Config(skip=("*",)), core)
    assert not any(row.quantized for row in fxq.report(lowered).rows)
    assert torch.equal(lowered(BATCH), net(BATCH))


def test_every_selector_counts_however_much_they_overlap(net: nn.Module, core: fxq.Registry) -> None:
    found = floats(
        net, core, "blocks", "blocks.0", "conv2d_clamp", "conv2d", nn.Conv2d, lambda m: m.output.name[0] == "b"
    )
    assert found.keys() == FIRST | SECOND


def test_what_is_float_anyway_may_be_selected(core: fxq.Registry) -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Softmax(-1)).eval()
    for selector in ("1", nn.Softmax):
        config = fxq.Config(skip=(selector,), rules=(fxq.Rule(selector, observer="minmax"),))
        fxq.quantize(net, [torch.rand(2, 3)], "reference", config, core)


def test_a_rule_may_name_what_is_skipped(net: nn.Module, core: fxq.Registry) -> None:
    config = fxq.Config(skip=("blocks",), rules=(fxq.Rule("conv2d_clamp", observer="minmax"),))
    assert fxq.Quantizer(net, BATCH, "reference", config, core).plan


def observers(plan: fxq.Plan) -> dict[str, str]:
    part = plan.parts[0]
    return {node.name: part.observers[group].name for node, group in part.groups.sources.items()}


def test_a_rule_chooses_the_observer_and_the_most_specific_one_wins(core: fxq.Registry) -> None:
    rules = (
        fxq.Rule("head", observer="minmax"),
        fxq.Rule("*", observer="histogram"),
        fxq.Rule(nn.Linear, observer="moving-average"),
    )
    names = observers(plan_with(core, *rules))
    assert names["head"] == "minmax"
    assert names["blocks_0_act"] == names["blocks_1_act"] == "histogram"
    assert names["x"] == "histogram"


def test_a_rule_for_a_path_reaches_the_values_that_enter_int8_there(core: fxq.Registry) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)
            self.register_buffer("offset", torch.ones(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(x.cos()) + self.offset)

    found = plan_with(core, fxq.Rule("*", observer="histogram"), net=Shifted().eval(), batch=torch.randn(2, 8))
    assert observers(found) == dict.fromkeys(("cos", "layer", "offset", "add", "layer_1"), "histogram")


def test_an_observer_changes_the_scale(net: nn.Module, core: fxq.Registry) -> None:
    batches = [BATCH, 5 * BATCH]
    lowered = fxq.quantize(net, batches, "reference", fxq.Config(rules=(fxq.Rule("head", observer="minmax"),)), core)
    row = next(row for row in fxq.report(lowered).rows if row.node == "head")
    with torch.no_grad():
        values = torch.cat([net(batch) for batch in batches])
    wanted = (values.max().clamp(min=0) - values.min().clamp(max=0)) / 255
    assert row.scale == pytest.approx(wanted.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (
            "blocks.0.cnv",
            "'blocks.0.cnv', which matches nothing in this model; "
            "did you mean 'blocks.0.conv' or 'blocks.1.conv' or 'blocks.0.act'?",
        ),
        ("lineer", "'lineer', which matches nothing in this model; did you mean 'linear'?"),
        ("haed", "'haed', which matches nothing in this model; did you mean 'head'?"),
        (
            "7.*",
            "'7.*', which matches nothing in this model; it has patterns 'conv2d', 'conv2d_clamp', 'clamp' "
            "and 3 more and modules 'blocks.0.conv', 'blocks.0.act', 'blocks.0' and 4 more",
        ),
        (nn.LSTM, "LSTM, which matches nothing in this model; it has types 'Conv2d', 'ReLU', 'Linear'"),
        (
            nn.Conv1d,
            "Conv1d, which matches nothing in this model; did you mean 'torch.nn.modules.conv.Conv2d'?",
        ),
        (
            lambda m: False,
            "<lambda>, which matches nothing in this model; it has patterns 'conv2d', 'conv2d_clamp', 'clamp' "
            "and 3 more",
        ),
    ],
)
@pytest.mark.parametrize("field", ["skip", "rules"])
def test_a_selector_that_matches_nothing_is_an_error(field: str, selector: Any, text: str, core: fxq.Registry) -> None:
    rules = () if field == "skip" else (fxq.Rule(selector, observer="minmax"),)
    assert refusal(core, *rules, skip=(selector,) if field == "skip" else ()) == f"the config selects {text}"


def test_a_model_with_nothing_to_select_says_so(core: fxq.Registry) -> None:
    found = refusal(core, skip=("head",), net=nn.Identity().eval(), batch=torch.ones(2))
    assert (
        found
        == "the config selects 'head', which matches nothing in this model; it has pattern 'identity' and no module"
    )


def test_an_unknown_observer_is_told_from_those_that_are_installed(core: fxq.Registry) -> None:
    said = "there is no observer 'histgram'; installed: entropy, histogram, minmax, moving-average, percentile"
    assert refusal(core, fxq.Rule("head", observer="histgram")) == said
    assert refusal(core, fxq.Rule("head", weight_observer="histgram")) == said


def test_a_predicate_that_fails_is_named(core: fxq.Registry) -> None:
    def deep(match: fxq.Match) -> bool:
        return match.depth > 3

    assert refusal(core, skip=(deep,)) == (
        "the config's deep failed at node 'blocks_0_conv' with AttributeError: 'Match' object has no attribute 'depth'"
    )


def test_a_config_is_a_config(net: nn.Module, core: fxq.Registry) -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.Quantizer(net, BATCH, "reference", {"skip": ("head",)}, core)  # type: ignore[arg-type]
    assert str(caught.value) == "config is a dict; pass fxq_core.Config(skip=..., rules=...)"
