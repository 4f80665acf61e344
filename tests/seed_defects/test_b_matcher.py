"""Entries 12 to 21: what matches, what does not, and which match wins."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.reference import emit_any
from fxq_core.testing.samples import SAMPLES
from seed_defects.oracle import int8_weight, module, on_grid, quantized

IMAGE = (2, 3, 8, 8)


class Plugin:
    """One pattern and its lowering for the reference engine; counts the calls of the emitter."""

    def __init__(self, pattern: fxq.Pattern) -> None:
        self.pattern, self.emitted = pattern, 0
        self.__name__ = f"plugin-{pattern.name}"

    def emit(self, match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        self.emitted += 1
        return emit_any(match, ctx)

    @fxq.hookimpl
    def fxq_patterns(self) -> list[fxq.Pattern]:
        return [self.pattern]

    @fxq.hookimpl
    def fxq_lowerings(self) -> list[fxq.Lowering]:
        return [fxq.Lowering(engine="reference", pattern=self.pattern.name, emit=self.emit)]


def layer(model: nn.Module, x: torch.Tensor, row: Any) -> torch.Tensor:
    """What the model's convolution gives on quantized inputs and weights, before it is rounded."""
    conv: Any = model.get_submodule("conv")
    return F.conv2d(on_grid(x, row), int8_weight(conv.weight), conv.bias)


def test_seed_12_the_longest_match_wins_whatever_was_registered_later() -> None:
    later = Plugin(fxq.Pattern("my_relu", {nn.ReLU}, priority=1))
    other = Plugin(fxq.Pattern("my_pool", {nn.MaxPool2d}, priority=1))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU()).eval()
    plans = []
    for plugins in ([later, other], [other, later]):
        q = fxq.Quantizer(model, torch.randn(IMAGE), "reference", registry=fxq.load_plugins(plugins))
        plans.append([(v.node, v.pattern) for v in q.plan.verdicts if v.quantized])
    assert plans[0] == plans[1]
    assert plans[0] == [("_0", "conv2d_clamp"), ("_2", "conv2d_clamp"), ("_3", "my_pool"), ("_4", "my_relu")]


def test_seed_13_an_emitter_runs_once_for_each_match_that_was_chosen() -> None:
    plugin = Plugin(fxq.Pattern("my_relu", {nn.ReLU}, priority=1))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU()).eval()
    x = torch.randn(IMAGE)
    q = fxq.Quantizer(model, x, "reference", registry=fxq.load_plugins([plugin])).calibrate([x])
    assert plugin.emitted == 0
    q.quantize()
    assert plugin.emitted == 1


def test_seed_14_arguments_that_are_no_values_are_looked_past() -> None:
    registry = fxq.load_plugins([Plugin(fxq.Pattern("chain", (nn.Conv2d, nn.ReLU, operator.add)))])
    alone = module(lambda self, x: self.relu(x) + 1, relu=nn.ReLU())
    x = torch.randn(IMAGE)
    qmodel, row = quantized(alone, x, registry=registry)
    assert torch.equal(qmodel(x), x.relu() + 1)
    whole = module(lambda self, x: self.relu(self.conv(x)) + 1, conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU())
    qmodel, row = quantized(whole, x, registry=registry)
    assert [row.conv.pattern, row.relu.pattern, row.add.pattern] == ["chain"] * 3
    assert torch.equal(qmodel(x), on_grid(whole.conv(on_grid(x, row.x)).relu() + 1, row.add))


class WSConv(nn.Conv2d):
    """Standardises its weight whenever it runs."""

    def standardised(self) -> torch.Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return weight / weight.std((1, 2, 3), keepdim=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.standardised(), self.bias)


class DecidingConv(WSConv):
    """The same as a leaf: no trace gets through the decision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum() < 1e9 else x


class SamePadConv(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias)


def test_seed_15_a_subclass_keeps_its_own_forward(registry: fxq.Registry) -> None:
    model, x = nn.Sequential(DecidingConv(3, 4, 3)).eval(), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry)
    assert torch.equal(qmodel(x), model(x))


def test_seed_15_a_weight_that_a_subclass_computes_is_computed_once(registry: fxq.Registry) -> None:
    model, x = module(lambda self, x: self.conv(x), conv=WSConv(3, 4, 3)), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    weight = int8_weight(model.conv.standardised())
    exact = F.conv2d(on_grid(x, row.x), weight, model.conv.bias)
    assert torch.equal(qmodel(x), on_grid(exact, row.conv2d))


def test_seed_15_a_subclass_that_pads_is_quantized_with_its_padding(registry: fxq.Registry) -> None:
    model, x = module(lambda self, x: self.conv(x), conv=SamePadConv(3, 4, 2)), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    assert torch.equal(qmodel(x), on_grid(layer(model, F.pad(x, (0, 1, 0, 1)), row.pad), row.conv2d))


def test_seed_15_a_forward_given_to_one_instance_is_kept(registry: fxq.Registry) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), torch.randn(IMAGE)
    model[0].forward = lambda value: nn.Conv2d.forward(model[0], 3 * value)
    with torch.no_grad():
        expected = F.conv2d(3 * x, model[0].weight, model[0].bias)
    qmodel, _ = quantized(model, x, registry=registry)
    assert torch.equal(qmodel(x), expected)


def test_seed_16_a_method_name_matches_methods_only() -> None:
    registry = fxq.load_plugins([Plugin(fxq.Pattern("named", {"relu"}, priority=1))])
    model = module(
        lambda self, relu: self.relu(self.conv(relu)).sigmoid().relu(), conv=nn.Conv2d(3, 4, 3), relu=nn.Hardswish()
    )
    qmodel, _ = quantized(model, torch.randn(IMAGE), registry=registry)
    found = {row.node: row.pattern for row in fxq.report(qmodel).rows if row.quantized}
    assert found == {"conv": "conv2d", "relu_1": "hardswish", "sigmoid": "sigmoid", "relu_2": "named"}


def test_seed_17_keyword_arguments_count(registry: fxq.Registry) -> None:
    model = module(
        lambda self, x: self.relu(input=self.conv(input=x)), conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(inplace=True)
    )
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    assert [row.conv.pattern, row.relu.pattern] == ["conv2d_clamp"] * 2
    assert torch.equal(qmodel(x), on_grid(layer(model, x, row.x).relu(), row.relu))


@pytest.mark.parametrize("add", [lambda y, z: torch.add(y, z, alpha=2), lambda y, z: y.add(alpha=2, other=z)])
def test_seed_17_alpha_is_not_dropped(add: Callable[..., Any], registry: fxq.Registry) -> None:
    model = module(lambda self, x: add(self.conv(x), torch.sin(x)), conv=nn.Conv2d(3, 3, 1))
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    assert torch.equal(qmodel(x), on_grid(layer(model, x, row.x), row.conv) + 2 * torch.sin(x))


@pytest.mark.parametrize("forward", [lambda self, x: self.conv(x) + x, lambda self, x: x + self.conv(x)])
def test_seed_18_a_chain_enters_at_either_argument_and_may_be_refused(forward: Callable[..., Any]) -> None:
    def reject(match: fxq.Match) -> str | None:
        return "it strides" if match.modules[0].stride != (1, 1) else None

    plugin = Plugin(fxq.Pattern("conv_add", ({nn.Conv2d, nn.Linear}, {operator.add, torch.add}), reject=reject))
    registry, x = fxq.load_plugins([plugin]), torch.randn(IMAGE)
    model = module(forward, conv=nn.Conv2d(3, 3, 1))
    qmodel, row = quantized(model, x, registry=registry)
    assert [row.conv.pattern, row.add.pattern] == ["conv_add"] * 2
    with torch.no_grad():
        grid = on_grid(x, row.x)
        assert torch.equal(qmodel(x), on_grid(model.conv(grid) + grid, row.add))
    strided = module(forward, conv=nn.Conv2d(3, 3, 1, stride=2))
    x = torch.randn(1, 3, 1, 1)
    _, row = quantized(strided, x, registry=registry)
    assert [row.conv.pattern, row.add.pattern] == ["conv2d", "add"]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", SAMPLES)
def test_seed_19_every_spelling_is_int8(name: str, registry: fxq.Registry) -> None:
    sample = SAMPLES[name]
    qmodel, _ = quantized(sample.model(), sample.batch(2), registry=registry)
    assert sample.pattern in {row.pattern for row in fxq.report(qmodel).rows if row.quantized}


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(nn.ConvTranspose1d, (2, 3, 8)), (nn.ConvTranspose2d, IMAGE), (nn.ConvTranspose3d, (2, 3, 4, 4, 4))],
)
def test_seed_19_transposed_convolutions_are_int8(kind: Any, shape: tuple[int, ...], registry: fxq.Registry) -> None:
    _, row = quantized(nn.Sequential(kind(3, 4, 3)), torch.randn(shape), registry=registry)
    assert row._0.quantized, row._0.reason


def test_seed_19_a_weight_may_be_a_buffer(registry: fxq.Registry) -> None:
    model = module(lambda self, x: F.conv2d(x, self.weight), weight=torch.randn(4, 3, 3, 3))
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    assert torch.equal(qmodel(x), on_grid(F.conv2d(on_grid(x, row.x), int8_weight(model.weight)), row.conv2d))


def test_seed_20_a_value_used_twice_by_one_op_is_not_interior() -> None:
    registry = fxq.load_plugins([Plugin(fxq.Pattern("conv_add", (nn.Conv2d, operator.add)))])
    model, x = module(lambda self, x: (y := self.conv(x)) + y, conv=nn.Conv2d(3, 4, 3)), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    assert [row.conv.pattern, row.add.pattern] == ["conv2d", "add"]
    once = on_grid(layer(model, x, row.x), row.conv)
    assert torch.equal(qmodel(x), on_grid(once + once, row.add))


def test_seed_21_a_module_may_be_called_by_its_second_name(registry: fxq.Registry) -> None:
    conv, graph = nn.Conv2d(3, 3, 1), fx.Graph()
    graph.output(graph.call_module("second", (graph.call_module("first", (graph.placeholder("x"),)),)))
    model = fx.GraphModule({"first": conv, "second": conv}, graph).eval()
    x = torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry)
    into, inner, outer = [row for row in fxq.report(qmodel).rows if row.scale is not None]
    weight = int8_weight(conv.weight)
    inside = on_grid(F.conv2d(on_grid(x, into), weight, conv.bias), inner)
    assert torch.equal(qmodel(x), on_grid(F.conv2d(inside, weight, conv.bias), outer))
