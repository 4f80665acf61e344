"""A lowered model is an ordinary module: what it saves is plain, what it loads is all, and it runs anywhere."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

import fxq_core as fxq

CALIBRATION = [torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(n)) for n in range(3)]
X = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(9))


class Net(nn.Module):
    """Layers, a residual addition that has an engine of its own at run time, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.block = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.register_buffer("offset", torch.linspace(-1, 1, 8).reshape(1, 8, 1, 1))
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.block(x) + x) + self.offset
        return self.head(nn.functional.avg_pool2d(x, 12).flatten(1))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def outputs(module: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return module(X)


def test_the_state_is_plain_tensors_that_any_calibration_can_load(
    engine: str, net: nn.Module, registry: fxq.Registry
) -> None:
    lowered = fxq.quantize(net, CALIBRATION, engine, registry=registry)
    torch.manual_seed(1)
    other = fxq.quantize(Net().eval(), [10 * batch for batch in CALIBRATION], engine, registry=registry)
    assert not torch.equal(outputs(other), outputs(lowered))
    file = io.BytesIO()
    torch.save(lowered.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert {tensor.dtype for tensor in state.values()} == {torch.int8, torch.uint8, torch.float32, torch.int32}
    assert state["stem.0.weight"].dtype is torch.int8
    other.load_state_dict(state, strict=True)
    assert torch.equal(outputs(other), outputs(lowered))
    assert torch.equal(outputs(copy.deepcopy(other)), outputs(lowered))


@pytest.mark.parametrize("foreign", torch.backends.quantized.supported_engines)
def test_it_runs_in_its_own_engine_and_puts_torchs_back(
    engine: str, foreign: str, net: nn.Module, registry: fxq.Registry
) -> None:
    lowered = fxq.quantize(net, CALIBRATION, engine, registry=registry)
    expected, before = outputs(lowered), torch.backends.quantized.engine
    torch.backends.quantized.engine = foreign
    try:
        assert torch.equal(outputs(lowered), expected)
        assert torch.backends.quantized.engine == foreign
        with pytest.raises(RuntimeError):
            lowered(torch.rand(1, 99, 12, 12))
        assert torch.backends.quantized.engine == foreign
    finally:
        torch.backends.quantized.engine = before


def test_a_constant_is_quantized_once(engine: str, net: nn.Module, registry: fxq.Registry) -> None:
    lowered = fxq.quantize(net, CALIBRATION, engine, registry=registry)
    assert lowered.state_dict()["offset.codes"].dtype is torch.uint8
    assert sum(node.target is torch.quantize_per_tensor for node in lowered.fxq_graph.nodes) == 1


@pytest.mark.parametrize("convert", [nn.Module.half, nn.Module.bfloat16, nn.Module.double])
def test_a_converted_model_is_refused_where_it_is_packed_again(
    convert: Callable[[nn.Module], nn.Module], engine: str, net: nn.Module, registry: fxq.Registry
) -> None:
    lowered = convert(fxq.quantize(net, CALIBRATION, engine, registry=registry))
    with pytest.raises(fxq.InputError) as caught:
        copy.deepcopy(lowered)
    assert str(caught.value).endswith(
        " holds an int8 weight with float32 scales and bias, but their dtypes were changed; "
        "convert the float model before it is quantized, not the quantized one"
    )
