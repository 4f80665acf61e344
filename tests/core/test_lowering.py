"""The rebuilt graph: names, constants, shared layers, folded clamps, the limits of plugins."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.capture.values import KEY
from fxq_core.quantized_module import SOURCE
from fxq_core.reference import REFERENCE, ReferenceLayer, emit_layer, fake_quantize

from support.quantizing import INSTALLED, error, int8, patterns, quantized, quantizer, run

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    def __init__(self, form: Callable[[Any, Any], Any], gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.a, self.b, self.same = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.register_buffer("offset", torch.randn(4, 1, 1))
        self.last = nn.Linear(6, 3)
        for conv in (self.a, self.b):
            conv.weight.data *= gain

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


def with_lowering(**changes: Any) -> fxq.Registry:
    """The core and a plugin with one lowering for the reference engine, which outranks its family's."""
    lowering = fxq.Lowering(**{"engine": "reference", "pattern": "conv2d_clamp", "priority": 1, **changes})
    plugin = types.SimpleNamespace(__name__="acme", fxq_lowerings=fxq.hookimpl(lambda: [lowering]))
    plugin.fxq_lowerings.__name__ = "fxq_lowerings"
    return fxq.load_plugins(plugins=[plugin], block=INSTALLED, strict=True)


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


SHARED = {
    "equal": lambda m, x: m.same(F.relu(m.same(m.a(x)))),
    "one clamped": lambda m, x: F.relu(m.same(m.a(x))) + m.same(m.b(x)),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_layer_that_is_called_twice_has_one_weight(name: str) -> None:
    model = Net(SHARED[name]).eval()
    lowered: Any = quantized(model, X)
    assert sorted(k for k in lowered.state_dict() if k.startswith("same")) == [
        "same.bias", "same.weight", "same.weight_scale",
    ]  # fmt: skip
    scales = {row.node: row.scale for row in fxq.report(lowered).rows if row.scale}
    assert len({scales[node] for node in scales if node in ("same", "same_1", "relu")}) == 2
    assert error(model, lowered, X) < 0.05


def test_constants_are_rounded_once_where_they_are_used() -> None:
    model = Net(lambda m, x: m.a(x) + m.offset + m.offset * torch.tensor(2.0)).eval()
    lowered: Any = quantized(model, X)
    graph = lowered.fxq_graph
    rounded = [n.args[0] for n in graph.nodes if n.target is fake_quantize]
    assert all(n.op != "get_attr" for n in rounded)
    assert any(k.startswith("offset") for k in lowered.state_dict())
    assert error(model, lowered, X) < 0.05


@pytest.mark.parametrize("skip", ["a", "same"])
def test_nested_paths_do_not_get_in_each_others_way(skip: str) -> None:
    class Nested(nn.Module):
        """A leaf whose own layers are also called from outside, before and after it."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.inner = Branch()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner.a(self.inner(self.inner.a(x)) * self.inner.gain)

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.same, self.gain = nn.Linear(4, 4), nn.Linear(4, 4), nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 1e6 else self.same(x)

    model, x = Nested().eval(), torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    config = fxq.Config(skip=(f"inner.{skip}",))
    for settings in ({}, {"config": config}):
        lowered = quantized(model, x, **settings)
        assert int8(lowered)
        assert error(model, lowered, x) < 0.05


def failing(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    raise KeyError("scale")


def returning_nothing(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    return None


@pytest.mark.parametrize(
    ("emit", "message"),
    [
        (
            failing,
            "acme: the lowering of pattern 'conv2d_clamp' for engine 'reference' failed at node 'relu' with "
            "KeyError: 'scale'; skip the node with Config(skip=('conv2d_clamp',)) until the plugin is mended",
        ),
        (
            returning_nothing,
            "acme: the lowering of pattern 'conv2d_clamp' for engine 'reference' failed at node 'relu' with "
            "TypeError: it returned None, which is no node; return what ctx.call(...) gives; "
            "skip the node with Config(skip=('conv2d_clamp',)) until the plugin is mended",
        ),
    ],
)
def test_a_plugin_that_fails_is_named_and_changes_nothing(emit: Any, message: str) -> None:
    model = Net(lambda m, x: F.relu(m.a(x))).eval()
    q = fxq.Quantizer(model, X, "reference", registry=with_lowering(emit=emit)).calibrate([X])
    state = repr(q.prepared.state_dict())
    for _ in range(2):
        with pytest.raises(fxq.PluginError) as raised:
            q.quantize()
        assert str(raised.value) == message
    assert repr(q.prepared.state_dict()) == state
    skipping = fxq.Config(skip=("conv2d_clamp",))
    around = fxq.quantize(model, [X], "reference", skipping, with_lowering(emit=emit))
    assert error(model, around, X) < 0.05


def test_an_engine_may_take_the_whole_module() -> None:
    class Whole(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    engine = replace(REFERENCE, name="compiler", finish=Whole)
    plugin = types.SimpleNamespace(__name__="acme", fxq_engines=fxq.hookimpl(lambda: [engine]))
    plugin.fxq_engines.__name__ = "fxq_engines"
    registry = fxq.load_plugins(plugins=[plugin], block=INSTALLED, strict=True)
    lowered = fxq.quantize(Net(lambda m, x: m.a(x)).eval(), [X], "compiler", registry=registry)
    assert type(lowered) is Whole
    assert patterns(lowered) == {"a": "conv2d"}


def test_finish_sees_what_the_example_gave_and_adds_notes_to_the_report() -> None:
    seen: dict[str, tuple[int, ...]] = {}

    def finish(module: nn.Module) -> nn.Module:
        for node in module.fxq_graph.nodes:
            if SOURCE in node.meta:
                seen[node.meta[SOURCE]] = node.meta[KEY].shape
        module.fxq_note = "it is one chip's"
        return module

    engine = replace(REFERENCE, name="compiler", finish=finish)
    plugin = types.SimpleNamespace(__name__="acme", fxq_engines=fxq.hookimpl(lambda: [engine]))
    plugin.fxq_engines.__name__ = "fxq_engines"
    registry = fxq.load_plugins(plugins=[plugin], block=INSTALLED, strict=True)
    model = Net(lambda m, x: torch.cumsum(m.a(x), 1)).eval()
    lowered = fxq.quantize(model, [X], "compiler", registry=registry)
    assert seen["a"] == seen["cumsum"] == tuple(model(X).shape)
    assert fxq.report(lowered).notes == (("", "it is one chip's"),)
