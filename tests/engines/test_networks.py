"""Whole networks: what a lowered one holds, and that it is as close to float as the reference engine's."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.native.packed import PackedLayer
from fxq_core.testing.agreement import Agreement

from networks.mobilenet import MobileNetV2
from networks.resnet import ResNet18

NETWORKS = {"resnet18": lambda: ResNet18(width=16, classes=10), "mobilenet_v2": lambda: MobileNetV2(classes=10)}


def realistic(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """Give the batch norms the statistics of their inputs, as training would."""
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(x)
    return model.eval()


def sqnr(expected: torch.Tensor, result: torch.Tensor) -> float:
    return float(10 * torch.log10(expected.square().sum() / (expected - result).square().sum()))


@pytest.fixture(scope="module", params=NETWORKS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return realistic(NETWORKS[request.param](), torch.randn(8, 3, 64, 64))


def test_every_op_agrees_and_the_network_is_close_to_float(
    engine: str, model: nn.Module, registry: fxq.Registry
) -> None:
    torch.manual_seed(1)
    batches = [torch.randn(4, 3, 64, 64) for _ in range(4)]
    agreement = Agreement(fxq.Quantizer(model, batches[0], engine, registry=registry).calibrate(batches))
    x = torch.randn(16, 3, 64, 64)
    assert max(found.codes for found in agreement.differences(x).values()) <= 1
    with torch.no_grad():
        assert sqnr(model(x), agreement.lowered(x)) > 30


def test_resnet18_is_int8_from_end_to_end(engine: str, registry: fxq.Registry) -> None:
    model = ResNet18(width=16, classes=10).eval()
    lowered = fxq.quantize(model, [torch.randn(1, 3, 64, 64)], engine, registry=registry)
    floats = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.ReLU)
    assert not [path for path, module in lowered.named_modules() if isinstance(module, floats)]
    assert {path for path, module in lowered.named_modules() if isinstance(module, PackedLayer)} == {
        path for path, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    # 21 layers, 8 additions, a max pool, an average pool and a flatten; no clamp, and one conversion at each end
    calls = Counter(node.op for node in lowered.fxq_graph.nodes)
    pools = {"call_module": 1} if engine == "qnnpack" else {"call_function": 1}
    assert calls == Counter(placeholder=1, call_module=22, call_function=10, call_method=1, output=1) + Counter(pools)
    report = fxq.report(lowered)
    provider = str(registry.engines[engine].provider)
    assert {row.provider for row in report.rows if row.quantized} == {provider}
    assert [row.op for row in report.rows if not row.quantized] == ["placeholder", "output"]
    for row in report.rows:
        assert not row.quantized or f"{row.node} " in str(report)
    assert str(report).count(provider) == sum(row.quantized for row in report.rows) + 1


def test_per_channel_weights_keep_a_mobilenet(engine: str, registry: fxq.Registry) -> None:
    """torch.ao's default for QNNPACK, one scale for a whole weight, destroys networks like this."""
    torch.manual_seed(0)
    model = realistic(MobileNetV2(classes=10), torch.randn(8, 3, 64, 64))
    lowered = fxq.quantize(model, [torch.randn(8, 3, 64, 64) for _ in range(4)], engine, registry=registry)
    scales = [module.weight_scale for module in lowered.modules() if isinstance(module, PackedLayer)]
    assert len(scales) == 53
    assert all(scale.dim() == 1 for scale in scales)
