"""A lowering or a rejection that fails: its match stays float, who and where is told, and nothing is left half done."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import fx, nn

import fxq_core as fxq
from fxq_core.reference import emit_any

from support.distributions import load
from support.failing import X, plugin
from support.quantizing import error, untouched

CELU = fxq.Pattern("celu", {nn.CELU})


def lowered_by(emit: Callable[..., Any], strict: bool, pattern: str = "celu", **more: Any) -> fxq.Registry:
    lowering = fxq.Lowering(engine="reference", pattern=pattern, emit=emit, priority=1, **more)
    return load(plugins=(plugin(fxq_patterns=[CELU], fxq_lowerings=[lowering]),), strict=strict)


def half_way(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    """Adds a node, a module and a constant, and fails in the second of two matches."""
    ctx.constant(torch.ones(1))
    ctx.module(nn.ReLU(), ctx.inputs[0])
    if match.output.name == "act":
        raise KeyError("alpha")
    return emit_any(match, ctx)


def test_a_match_whose_lowering_fails_is_computed_in_float(net: nn.Module) -> None:
    registry = lowered_by(half_way, strict=False)
    q = fxq.Quantizer(net, X, "reference", registry=registry).calibrate([X])
    with untouched(net, X), pytest.warns(fxq.PluginWarning) as caught:
        lowered = q.quantize()
    told = [str(warning.message) for warning in caught if warning.category is fxq.PluginWarning]
    assert told == [
        "acme: the lowering of pattern 'celu' for engine 'reference' failed at node 'act' of module 'act' with "
        "KeyError: 'alpha'; the node stays in float"
    ]
    assert caught[0].filename == __file__
    rows = {row.node: row for row in fxq.report(lowered).rows}
    assert (rows["block_act"].quantized, rows["block_act"].provider) == (True, "acme")
    assert (rows["act"].quantized, rows["act"].pattern, rows["act"].provider) == (False, "", "acme")
    assert rows["act"].reason == "its lowering failed with KeyError: 'alpha'"
    assert rows["act"].where.startswith("failing.py:")
    assert (rows["block_conv"].quantized, rows["last"].quantized) == (True, True)
    assert error(net, lowered, X) < 0.05


def test_nothing_of_a_lowering_that_failed_is_left(net: nn.Module) -> None:
    def failing(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        ctx.constant(torch.ones(1))
        return ctx.module(nn.Linear(3, 3), ctx.inputs[0], undefined)  # noqa: F821

    broken, skipped = lowered_by(failing, strict=False), fxq.Config(skip=("celu",))
    with pytest.warns(fxq.PluginWarning):
        lowered = fxq.quantize(net, [X], "reference", registry=broken)
    without = fxq.quantize(net, [X], "reference", skipped, lowered_by(emit_any, strict=False))
    assert str(lowered.fxq_graph) == str(without.fxq_graph)
    assert list(lowered.state_dict()) == list(without.state_dict())
    assert dict(lowered.named_modules()).keys() == dict(without.named_modules()).keys()
    assert torch.equal(lowered(X), without(X))


@pytest.mark.parametrize("pattern", ["conv2d", "max_pool2d", "add_clamp", "sigmoid", "embedding"])
def test_any_kind_of_match_may_fail(pattern: str) -> None:
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.conv, self.last = nn.Embedding(9, 8), nn.Conv2d(3, 4, 1), nn.Linear(8, 2)
            self.pool = nn.MaxPool2d(1)

        def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            x = torch.relu(self.pool(x) + x)
            return self.last(torch.sigmoid(x) + self.table(index))

    def failing(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        raise ValueError

    torch.manual_seed(0)
    model, batch = Many().eval(), (X, torch.arange(8) % 9)
    q = fxq.Quantizer(model, batch, "reference", registry=lowered_by(failing, strict=False, pattern=pattern))
    planned = {v.node: v.pattern for v in q.plan.verdicts if v.quantized}
    assert pattern in planned.values()
    with pytest.warns(fxq.PluginWarning):
        lowered = q.calibrate([batch]).quantize()
    rows = {row.node: row.pattern for row in fxq.report(lowered).rows if row.quantized}
    assert rows == {node: name for node, name in planned.items() if name != pattern}
    assert error(model, lowered, *batch) < 0.05


def test_strict_raises_at_the_first_and_the_quantizer_stays_usable(net: nn.Module) -> None:
    q = fxq.Quantizer(net, X, "reference", registry=lowered_by(half_way, strict=True)).calibrate([X])
    state = repr(q.prepared.state_dict())
    for _ in range(2):
        with pytest.raises(fxq.PluginError) as caught:
            q.quantize()
        assert str(caught.value) == (
            "acme: the lowering of pattern 'celu' for engine 'reference' failed at node 'act' of module 'act' with "
            "KeyError: 'alpha'; skip the node with Config(skip=('celu',)) until the plugin is mended"
        )
        assert type(caught.value.__cause__) is KeyError
    assert repr(q.prepared.state_dict()) == state


def test_a_border_that_fails_can_not_be_left_in_float(net: nn.Module) -> None:
    def failing(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        raise ValueError("no table")

    with pytest.raises(fxq.PluginError) as caught:
        fxq.quantize(net, [X], "reference", registry=lowered_by(failing, strict=False, pattern="quantize"))
    assert str(caught.value) == (
        "acme: the lowering of pattern 'quantize' for engine 'reference' failed at node 'x' with ValueError: no table; "
        "take another engine until the plugin is mended"
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (KeyError("groups"), "KeyError: 'groups'"),
        (SystemExit(0), "SystemExit: 0"),
        (True, "TypeError: it returned True, which is no sentence"),
        ("", "TypeError: it returned '', which is no sentence"),
    ],
)
@pytest.mark.parametrize("side", ["pattern", "lowering"])
def test_a_rejection_that_fails_leaves_its_match_in_float(net: nn.Module, side: str, answer: Any, why: str) -> None:
    def reject(match: fxq.Match) -> Any:
        if match.output.name == "act":
            if isinstance(answer, BaseException):
                raise answer
            return answer
        return None

    pattern = replace(CELU, reject=reject if side == "pattern" else None)
    lowering = fxq.Lowering(
        engine="reference", pattern="celu", emit=emit_any, reject=reject if side == "lowering" else None
    )
    registry = load(plugins=(plugin(fxq_patterns=[pattern], fxq_lowerings=[lowering]),), strict=False)
    verdicts = {v.node: v for v in fxq.Quantizer(net, X, "reference", registry=registry).plan.verdicts}
    assert verdicts["block_act"].quantized
    assert (verdicts["act"].quantized, verdicts["act"].provider) == (False, "acme")
    what = "pattern" if side == "pattern" else "lowering of pattern"
    assert verdicts["act"].reason == f"the {what} 'celu' failed to accept or reject it with {why}"


def test_a_rejection_in_several_lines_is_told_in_one(net: nn.Module) -> None:
    pattern = replace(CELU, reject=lambda match: "alpha is\n    too small\n")
    registry = load(plugins=(plugin(fxq_patterns=[pattern]),))
    verdicts = {v.node: v for v in fxq.Quantizer(net, X, "reference", registry=registry).plan.verdicts}
    assert verdicts["act"].reason == "alpha is too small"


def test_a_lowering_that_exits_costs_only_its_match(net: nn.Module) -> None:
    def leaving(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        raise SystemExit(0)

    with pytest.warns(fxq.PluginWarning):
        lowered = fxq.quantize(net, [X], "reference", registry=lowered_by(leaving, strict=False))
    rows = {row.node: row for row in fxq.report(lowered).rows}
    assert rows["act"].reason == "its lowering failed with SystemExit: 0"
    assert rows["first"].quantized


def test_the_outcome_is_the_same_every_time(net: nn.Module) -> None:
    reports = set()
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fxq.PluginWarning)
            lowered = fxq.quantize(net, [X], "reference", registry=lowered_by(half_way, strict=False))
        reports.add(str(fxq.report(lowered)))
    assert len(reports) == 1
