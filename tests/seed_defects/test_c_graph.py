"""Entries 32 to 37: geometry, outputs, state and the lowered graph."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from seed_defects.oracle import int8_weight, module, on_grid, quantized, settled

IMAGE = (2, 3, 8, 8)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's float kernel says so
@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("mode", ["same", "valid", "reflect", "replicate", "circular"])
def test_seed_32_every_padding(mode: str, kernel: int, registry: fxq.Registry) -> None:
    padding = {"padding": mode} if mode in ("same", "valid") else {"padding": 2, "padding_mode": mode}
    model, x = nn.Sequential(nn.Conv2d(3, 4, kernel, dilation=1, **padding)).eval(), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    into = vars(row).get("pad", row.input_1)
    sides = {"valid": [0, 0], "same": [(kernel - 1) // 2, kernel // 2]}.get(mode, [2, 2]) * 2
    padded = F.pad(x, sides, mode="constant" if mode in ("same", "valid") else mode)
    conv = model[0]
    assert torch.equal(qmodel(x), on_grid(F.conv2d(on_grid(padded, into), int8_weight(conv.weight), conv.bias), row._0))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Conv2d(3, 4, 3), IMAGE[1:]), (nn.Conv1d(3, 4, 3, padding="same"), (3, 8)), (nn.Linear(3, 4), (3,))],
)
def test_seed_33_unbatched_inputs_stay_float(layer: nn.Module, shape: tuple[int, ...], registry: fxq.Registry) -> None:
    x = torch.randn(shape)
    qmodel, row = quantized(nn.Sequential(layer), x, registry=registry)
    assert row._0.reason == "its input has no batch dimension; add one with unsqueeze(0)"
    assert torch.equal(qmodel(x), layer(x))


def test_seed_33_a_norm_over_the_length_of_an_unbatched_convolution_is_not_folded(registry: fxq.Registry) -> None:
    model, x = nn.Sequential(nn.Conv1d(3, 4, 1), settled(nn.BatchNorm1d(4))).eval(), torch.randn(3, 4)
    qmodel, _ = quantized(model, x, registry=registry)
    assert torch.equal(qmodel(x), model(x))


def test_seed_33_a_layer_called_with_and_without_batch(registry: fxq.Registry) -> None:
    model, x = module(lambda self, x: (self.fc(x), self.fc(x[0])), fc=nn.Linear(6, 5)), torch.randn(2, 6)
    qmodel, row = quantized(model, x, registry=registry)
    batched, single = qmodel(x)
    expected = F.linear(on_grid(x, row.x), int8_weight(model.fc.weight), model.fc.bias)
    assert torch.equal(batched, on_grid(expected, row.fc))
    assert torch.equal(single, model.fc(x[0]))


def test_seed_34_pooling_with_indices_gives_both(registry: fxq.Registry) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, return_indices=True)), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    conv = model[0]
    inside = on_grid(F.conv2d(on_grid(x, row.input_1), int8_weight(conv.weight), conv.bias), row._0)
    values, indices = qmodel(x)
    assert torch.equal(values, F.max_pool2d(inside, 2))
    assert torch.equal(indices, F.max_pool2d(inside, 2, return_indices=True)[1])


def test_seed_35_a_state_dict_carries_the_whole_calibration(registry: fxq.Registry) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 2, 3), nn.Sigmoid()), torch.randn(IMAGE)
    ours, _ = quantized(model, x, registry=registry)
    theirs, _ = quantized(copy.deepcopy(model), 50 * x + 3, registry=registry)
    assert not torch.equal(ours(x), theirs(x))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(copy.deepcopy(theirs)(x), ours(x))


def test_seed_36_the_lowered_graph_is_checked_and_names_its_sources(registry: fxq.Registry) -> None:
    layers = {"conv": nn.Conv2d(3, 4, 3), "offset": nn.Parameter(torch.randn(4, 1, 1))}
    model, x = module(lambda self, x: self.conv(x) + self.offset, **layers), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    qmodel.fxq_graph.lint()
    assert not any(child.training for child in qmodel.modules())
    # the parameter is rounded once, when the graph is built, not whenever it runs
    roundings = [node for node in qmodel.fxq_graph.nodes if getattr(node.target, "__name__", "") == "fake_quantize"]
    assert len(roundings) == 3
    inside = on_grid(F.conv2d(on_grid(x, row.x), int8_weight(model.conv.weight), model.conv.bias), row.conv)
    assert torch.equal(qmodel(x), on_grid(inside + on_grid(model.offset, row.offset), row.add))
    sources = {node.meta["fxq_source"] for node in qmodel.fxq_graph.nodes if "fxq_source" in node.meta}
    assert {"x", "conv", "add", "output"} <= sources <= set(vars(row))


def test_seed_36_nothing_is_computed_for_nobody(registry: fxq.Registry) -> None:
    model = module(
        lambda self, x: (self.unused(x), self.conv(x))[1], conv=nn.Conv2d(3, 4, 3), unused=nn.Conv2d(3, 4, 3)
    )
    qmodel, _ = quantized(model, torch.randn(IMAGE), registry=registry)
    assert [node.target for node in qmodel.fxq_graph.nodes if node.op == "call_module"] == ["conv"]


def test_seed_36_a_weight_that_is_read_elsewhere_is_read_as_it_was(registry: fxq.Registry) -> None:
    model, x = module(lambda self, x: self.fc(x) @ self.fc.weight, fc=nn.Linear(6, 5)), torch.randn(2, 6)
    qmodel, row = quantized(model, x, registry=registry)
    code = on_grid(F.linear(on_grid(x, row.x), int8_weight(model.fc.weight), model.fc.bias), row.fc)
    assert torch.equal(qmodel(x), code @ model.fc.weight)


@pytest.mark.parametrize("name", ["engine", "graph", "code"])
def test_seed_36_a_submodule_may_have_any_name(name: str, registry: fxq.Registry) -> None:
    model = module(lambda self, x: getattr(self, name)(self.conv(x)), conv=nn.Conv2d(3, 4, 3))
    model.add_module(name, nn.Softplus().eval())
    x = torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry)
    inner = nn.Sequential(model.conv)
    plain, row = quantized(inner, x, registry=registry)
    assert row._0.quantized
    assert torch.equal(qmodel(x), model.get_submodule(name)(plain(x)))


def test_seed_37_inputs_and_outputs_are_float_and_the_report_says_so(registry: fxq.Registry) -> None:
    x = torch.randn(2, 4)
    qmodel, row = quantized(nn.Sequential(nn.Linear(4, 3)), x, registry=registry)
    assert qmodel(x).dtype is torch.float32
    assert row.input_1.reason == "an input stays as the caller gives it"
    assert row.output.reason == "outputs are returned in float"


def test_seed_37_sharing_qparams_never_cuts_a_range(registry: fxq.Registry) -> None:
    x, conv = torch.randn(IMAGE), nn.Conv2d(3, 4, 3)
    clamped = module(lambda self, x: torch.clamp(F.max_pool2d(self.conv(x), 2), min=50.0), conv=conv)
    qmodel, _ = quantized(clamped, x, registry=registry)
    assert ((qmodel(x) - 50).abs() < 50 / 255).all()
    summed = module(lambda self, x: F.avg_pool2d(F.relu(self.conv(x)), 2, divisor_override=1), conv=conv)
    with torch.no_grad():
        expected = summed(x)
    qmodel, _ = quantized(summed, x, registry=registry)
    assert (qmodel(x) - expected).norm() < 0.03 * expected.norm()
