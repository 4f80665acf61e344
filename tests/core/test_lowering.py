"""The rebuilt graph: names, constants, shared layers, the limits of plugins."""

from __future__ import annotations

import types
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.capture.values import KEY
from fxq_core.quantized_module import SOURCE
from fxq_core.reference import REFERENCE, fake_quantize

from support.lowering import Net, X, with_lowering
from support.quantizing import INSTALLED, error, int8, patterns, quantized

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
