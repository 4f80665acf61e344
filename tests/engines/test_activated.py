"""Layers that end in an activation are one kernel where oneDNN has it: rounded once, and elsewhere two steps."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.native import activated
from fxq_core.native.layers import QuantizedConv, QuantizedLinear
from fxq_core.testing.agreement import Agreement

FUSING = ("x86", "onednn")
CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "dense": {"in_channels": 8, "out_channels": 12, "kernel_size": 3, "padding": 1},
    "pointwise, no bias": {"in_channels": 8, "out_channels": 12, "kernel_size": 1, "bias": False},
    "strided": {"in_channels": 8, "out_channels": 12, "kernel_size": 3, "stride": 2},
    "depthwise": {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "padding": 1, "groups": 8},
    "grouped": {"in_channels": 8, "out_channels": 12, "kernel_size": (3, 1), "groups": 4},
    "dilated": {"in_channels": 8, "out_channels": 12, "kernel_size": 3, "padding": 3, "dilation": 3},
}
ACTIVATIONS = {
    "silu": nn.SiLU(),
    "hardswish": nn.Hardswish(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
}


def patterns(module: nn.Module) -> list[str]:
    return [row.pattern for row in fxq.report(module).rows if row.pattern]


def agreement(engine: str, registry: fxq.Registry, model: nn.Module, x: torch.Tensor, **how: Any) -> Agreement:
    return Agreement(fxq.Quantizer(model.eval(), x, engine, registry=registry, **how).calibrate([x]))


@pytest.mark.parametrize("activation", ["silu", "hardswish"])
@pytest.mark.parametrize("geometry", CONVOLUTIONS)
def test_a_convolution_and_its_activation(engine: str, registry: fxq.Registry, geometry: str, activation: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(**CONVOLUTIONS[geometry]), ACTIVATIONS[activation])
    found = agreement(engine, registry, model, torch.randn(4, 8, 9, 9))
    assert (patterns(found.lowered) == [f"conv2d_{activation}"] * 2) == (engine in FUSING)
    for batch, size in ((1, 9), (3, 12), (0, 9), (2, 3)):
        differences = found.differences(torch.randn(batch, 8, size, size))
        assert all(difference.codes <= 1 for difference in differences.values())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_linear_layer_and_its_activation(engine: str, registry: fxq.Registry, activation: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 13), ACTIVATIONS[activation])
    found = agreement(engine, registry, model, torch.randn(4, 5, 7))
    name = activation.removesuffix("_tanh")
    assert (patterns(found.lowered) == [f"linear_{name}"] * 2) == (engine in FUSING)
    for shape in ((4, 5, 7), (1, 7), (2, 3, 4, 7), (0, 7)):
        assert all(difference.codes <= 1 for difference in found.differences(torch.randn(shape)).values())


def test_functions_are_fused_like_modules(engine: str, registry: fxq.Registry) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 4, 1), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = F.silu(self.conv(x), inplace=True).mean((2, 3))
            return F.gelu(self.linear(y), approximate="tanh")

    torch.manual_seed(0)
    found = agreement(engine, registry, Net(), torch.randn(4, 3, 5, 5))
    assert all(difference.codes <= 1 for difference in found.differences(torch.randn(2, 3, 5, 5)).values())
    if engine in FUSING:
        assert found.lowered.linear.activation == "gelu_tanh"
        assert found.lowered.conv.activation == "silu"


@pytest.mark.parametrize("scheme", ["per-tensor", "per-channel"])
def test_both_weight_schemes(engine: str, registry: fxq.Registry, scheme: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(36, 5), nn.GELU())
    config = fxq.Config(rules=(fxq.Rule("*", weight=scheme),))
    found = agreement(engine, registry, model, torch.randn(4, 3, 5, 5), config=config)
    assert all(difference.codes <= 1 for difference in found.differences(torch.randn(2, 3, 5, 5)).values())


def test_where_onednn_would_be_wrong_there_are_two_steps(engine: str, registry: fxq.Registry) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, (3, 4), groups=4), nn.SiLU())
    found = agreement(engine, registry, model, torch.randn(4, 4, 6, 8))
    assert patterns(found.lowered)[0] == "conv2d"
    assert all(difference.codes <= 1 for difference in found.differences(torch.randn(2, 4, 6, 8)).values())


@pytest.mark.parametrize(("least", "together"), [(4 * 12 * 9 * 9, True), (4 * 12 * 9 * 9 + 1, False)])
def test_what_gives_few_numbers_is_two_steps(
    engine: str, registry: fxq.Registry, least: int, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine in FUSING:
        monkeypatch.setattr("fxq_fbgemm.fused.LEAST", {"conv2d": least})
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(**CONVOLUTIONS["dense"]), nn.Hardswish(), nn.Conv2d(12, 2, 1))
    lowered = agreement(engine, registry, model, torch.randn(4, 8, 9, 9)).lowered
    two = ["conv2d", "hardswish", "conv2d"]
    assert patterns(lowered) == (["conv2d_hardswish"] * 2 + ["conv2d"] if engine in FUSING and together else two)


def test_what_something_else_reads_too_is_a_step_of_its_own(engine: str, registry: fxq.Registry) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return F.silu(y) + y

    lowered = fxq.quantize(Twice().eval(), [torch.randn(2, 3, 4, 4)], engine, registry=registry)
    assert patterns(lowered)[0] == "conv2d"


@pytest.mark.skipif(not activated.available(), reason="this build of torch lacks the kernels")
@pytest.mark.parametrize("name", FUSING)
def test_copies_compute_the_same_and_tuning_has_a_choice(name: str, engine: str) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-60, 61, (4, 3, 3, 3), generator=generator).to(torch.int8)
    scale, bias = torch.full((4,), 0.01), torch.randn(4, generator=generator)
    conv = QuantizedConv(codes, scale, bias, (1, 1), (1, 1), (1, 1), 1, name, None, "silu")
    linear = QuantizedLinear(codes.reshape(4, 27), scale, bias, name, None, "gelu")
    for layer, shape in ((conv, (2, 3, 5, 5)), (linear, (2, 27))):
        values = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
        x = torch._make_per_tensor_quantized_tensor(values, 0.02, 100)
        expected = layer(x, 0.1, 9).int_repr()
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(other(x, 0.1, 9).int_repr(), expected)
            other.fxq_use("float")
            assert (other(x, 0.1, 9).int_repr().int() - expected.int()).abs().max() <= 1
        assert layer.fxq_alternatives() == ("onednn", "float")
        assert layer.extra_repr().endswith(layer.activation)


def test_without_vnni_the_weights_are_narrowed(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    codes = torch.full((2, 4), 127, dtype=torch.int8)
    layer = QuantizedLinear(codes, torch.ones(2), None, "onednn", None, "hardswish")
    assert layer._kernel() == ("onednn", True)
    x = torch._make_per_tensor_quantized_tensor(torch.full((1, 4), 255, dtype=torch.uint8), 1.0, 0)
    # 128 for 127: four products of 255 more
    assert layer(x, 1000.0, 0).int_repr().tolist() == [[round(4 * 255 * 128 / 1000)] * 2]


def test_a_build_of_torch_without_the_kernels_has_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activated, "ONEDNN", object())
    assert not activated.available()
