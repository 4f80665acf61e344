"""A clamp is folded into the range of its output exactly where that changes no code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.reference import ReferenceLayer, emit_layer, fake_quantize

from support.lowering import Net, X, with_lowering
from support.quantizing import INSTALLED, error, int8, quantized, quantizer, run


def emit_folded(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    """What an engine in integers does: no op for a clamp that the output's own range is."""
    if not ctx.folds(*clamp_of(match)):
        return emit_layer(match, ctx)
    layer: Any = match.modules[0]
    weight = ctx.quantize_weight(layer.weight, layer.bias)
    names = ("stride", "padding", "dilation", "groups")
    module = ReferenceLayer(weight, F.conv2d, **{name: getattr(layer, name) for name in names})
    result = ctx.module(module, ctx.inputs[0])
    return ctx.call(fake_quantize, result, *ctx.output, ctx.output.qmin, ctx.output.qmax)


def clamp_of(match: fxq.Match) -> tuple[float, float]:
    from fxq_core.signatures import clamp_bounds

    return clamp_bounds(match.output, match.modules[-1])


FOLDING = with_lowering(emit=emit_folded)
# (what is computed, the factor on the weights, how many clamps are left)
CLAMPS: dict[str, tuple[Callable[[Any, Any], Any], float, int]] = {
    "relu": (lambda m, x: F.relu(m.a(x)), 1.0, 0),
    "relu6 that reaches 6": (lambda m, x: F.relu6(m.a(x)), 20.0, 0),
    "relu6 that does not": (lambda m, x: F.relu6(m.a(x)), 1.0, 0),
    # 255 steps can't be even on both sides of 0: one limit lies between two codes
    "hardtanh reached": (lambda m, x: F.hardtanh(m.a(x)), 20.0, 1),
    "hardtanh not reached": (lambda m, x: F.hardtanh(m.a(x)), 0.1, 0),
    "hardtanh, uneven": (lambda m, x: F.hardtanh(m.a(x), -0.3, 1.1), 20.0, 0),
    "clamp from below": (lambda m, x: m.a(x).clamp(min=-0.7), 20.0, 0),
    "two relus": (lambda m, x: torch.cat([F.relu(m.a(x)), F.relu(m.b(x))], 1), 1.0, 0),
    "pooled": (lambda m, x: F.avg_pool2d(F.relu(m.a(x)), 2), 1.0, 0),
    "with a value that is not clamped": (lambda m, x: torch.cat([F.relu(m.a(x)), m.b(x)], 1), 1.0, 1),
    "with an input": (lambda m, x: m.last(torch.cat([F.relu(m.a(x)), x], 1)), 1.0, 1),
    "with a wider clamp": (lambda m, x: torch.cat([F.relu6(m.a(x)), F.relu(m.b(x))], 1), 20.0, 1),
    "with a wider clamp below": (lambda m, x: torch.cat([F.relu(m.a(x)), F.hardtanh(m.b(x), -4, 4)], 1), 20.0, 2),
    "with a sigmoid": (lambda m, x: torch.cat([F.relu(m.a(x)), torch.sigmoid(m.b(x))], 1), 1.0, 1),
    "with a constant": (lambda m, x: m.last(torch.cat([F.relu(m.a(x)), m.offset.expand(2, 4, 6, 6)], 1)), 1.0, 1),
    "pooled with a value": (
        lambda m, x: torch.cat([F.max_pool2d(F.relu6(m.a(x)), 2), F.max_pool2d(m.b(x), 2)]),
        9.0,
        1,
    ),
}


def clamps_left(lowered: Any) -> int:
    targets = {F.relu, F.relu6, F.hardtanh, "clamp"}
    return sum(node.target in targets for node in lowered.fxq_graph.nodes)


@pytest.mark.parametrize("name", CLAMPS)
def test_a_clamp_is_folded_where_that_changes_nothing(name: str) -> None:
    form, gain, left = CLAMPS[name]
    model = Net(form, gain).eval()
    expected = quantizer(model, X).calibrate([X]).quantize()
    folded = fxq.quantize(model, [X], "reference", registry=FOLDING)
    assert clamps_left(folded) == left
    for x in (X, 3 * X, -3 * X, torch.zeros_like(X)):
        assert torch.equal(run(folded, x), run(expected, x))


@pytest.mark.filterwarnings("ignore:on the last calibration batch")
@pytest.mark.parametrize("observer", ["minmax", "percentile", "moving-average"])
def test_folding_holds_for_every_observer_and_another_calibration(observer: str) -> None:
    for form, gain, _ in CLAMPS.values():
        model = Net(form, gain).eval()
        settings: Any = {"engine": "reference", "config": fxq.Config(rules=(fxq.Rule(nn.Conv2d, observer=observer),))}
        expected, folded = (fxq.quantize(model, [X], registry=r, **settings) for r in (quantizer_registry(), FOLDING))
        assert torch.equal(run(folded, 3 * X), run(expected, 3 * X))
        small, large = (fxq.quantize(model, [k * X], registry=FOLDING, **settings) for k in (0.01, 5))
        small.load_state_dict(large.state_dict())
        # a limit between two codes may be rounded to the other one
        assert (run(small, X) - run(large, X)).abs().max() <= large.fxq_scale.max() * 1.001


def quantizer_registry() -> fxq.Registry:
    return fxq.load_plugins(block=INSTALLED)


def test_a_clamp_without_zero_is_not_part_of_the_layer() -> None:
    for low, high in ((1.0, 5.0), (0.5, 9.0), (-5.0, -1.0)):
        model = Net(lambda m, x: m.a(x).clamp(low, high), 20.0).eval()  # noqa: B023
        lowered = quantized(model, X)
        assert "conv2d_clamp" not in int8(lowered)
        assert error(model, lowered, X) < 0.05
