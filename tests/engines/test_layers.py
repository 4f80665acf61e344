"""Convolutions and linear layers against float arithmetic on the same codes: at most one code off, on a grid."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import fxq_core as fxq
from fxq_core.native.layers import QuantizedConv, QuantizedLinear
from fxq_core.native.transposed import QuantizedConvTranspose

# in, out, groups: dense, odd, grouped, FBGEMM's groupwise kernels, depthwise with and without multiplier
CHANNELS = [(5, 7, 1), (33, 17, 1), (6, 9, 3), (32, 32, 8), (3, 6, 3), (8, 16, 8), (16, 16, 16), (104, 104, 104)]
GEOMETRY = {1: (11,), 2: (9, 8), 3: (6, 5, 5)}
KERNELS = {1: (1, 2, 3, 5), 2: (1, 2, 3, 5), 3: (1, 3)}
FLOAT = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def weight_of(*shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    codes = torch.randint(-127, 128, shape, generator=generator).to(torch.int8)
    scale = torch.rand(shape[0], generator=generator) * 0.01 + 0.001
    return codes, scale, torch.randn(shape[0], generator=generator)


def input_of(*shape: int) -> torch.Tensor:
    codes = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return torch._make_per_tensor_quantized_tensor(codes, 0.02, 100)


def furthest(result: torch.Tensor, floats: torch.Tensor) -> int:
    """The largest difference in codes; the shapes must be equal."""
    assert result.shape == floats.shape
    codes = (torch.round(floats / result.q_scale()) + result.q_zero_point()).clamp(0, 255)
    return int((codes - result.int_repr()).abs().max()) if result.numel() else 0


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions(engine: str, dims: int, channels: tuple[int, int, int]) -> None:
    inputs, outputs, groups = channels
    for kernel, stride, padding, dilation in itertools.product(KERNELS[dims], (1, 2), (0, 1, 2), (1, 2)):
        if dilation * (kernel - 1) >= min(GEOMETRY[dims]) + 2 * padding:
            continue
        codes, scale, bias = weight_of(outputs, inputs // groups, *(kernel,) * dims)
        numbers: Any = [(n,) * dims for n in (stride, padding, dilation)]
        layer = QuantizedConv(codes, scale, bias, *numbers, groups, engine)
        weight = codes * scale.reshape(-1, *(1,) * (dims + 1))
        for batch in (0, 1, 3):
            x = input_of(batch, inputs, *GEOMETRY[dims])
            floats = FLOAT[dims](x.dequantize(), weight, bias, *numbers, groups)
            assert furthest(layer(x, 0.3, 128), floats) <= 1, (kernel, stride, padding, dilation, batch)


def test_a_convolution_may_differ_by_dimension(engine: str) -> None:
    codes, scale, bias = weight_of(4, 3, 3, 5)
    layer = QuantizedConv(codes, scale, bias, (1, 2), (2, 0), (2, 1), 1, engine)
    x = input_of(2, 3, 9, 11)
    floats = F.conv2d(x.dequantize(), codes * scale.reshape(-1, 1, 1, 1), bias, (1, 2), (2, 0), (2, 1))
    assert furthest(layer(x, 0.3, 128), floats) <= 1


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
@pytest.mark.parametrize("features", [(1, 1), (5, 7), (16, 33)])
def test_linear_layers(engine: str, shape: tuple[int, ...], features: tuple[int, int]) -> None:
    codes, scale, bias = weight_of(features[1], features[0])
    layer = QuantizedLinear(codes, scale, bias, engine)
    for batch in (0, 1, 3):
        x = input_of(batch, *shape, features[0])
        floats = F.linear(x.dequantize(), codes * scale.reshape(-1, 1), bias)
        assert furthest(layer(x, 0.3, 128), floats) <= 1, batch


def test_one_scale_for_the_whole_weight(engine: str) -> None:
    codes, _, bias = weight_of(7, 5)
    layer = QuantizedLinear(codes, torch.tensor(0.005), bias, engine)
    x = input_of(3, 5)
    assert furthest(layer(x, 0.3, 128), F.linear(x.dequantize(), codes * 0.005, bias)) <= 1


def test_no_bias(engine: str) -> None:
    codes, scale, _ = weight_of(7, 5)
    layer = QuantizedLinear(codes, scale, None, engine)
    x = input_of(3, 5)
    assert furthest(layer(x, 0.3, 128), F.linear(x.dequantize(), codes * scale.reshape(-1, 1))) <= 1


@pytest.mark.parametrize("channels", [(5, 7, 1), (6, 9, 3), (16, 16, 16), (8, 16, 1), (24, 8, 1)])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_transposed_convolutions(
    engine: str, dims: int, channels: tuple[int, int, int], registry: fxq.Registry
) -> None:
    if (engine, f"conv_transpose{dims}d") not in registry.lowerings:
        assert (engine, dims) == ("qnnpack", 3)  # whose kernel gives wrong numbers, so it stays float
        return
    inputs, outputs, groups = channels
    for kernel, stride, padding, dilation, extra in itertools.product((1, 2, 3), (1, 2), (0, 1), (1, 2), (0, 1)):
        if extra >= max(stride, dilation):
            continue
        codes, _, bias = weight_of(inputs, outputs // groups, *(kernel,) * dims)
        bias = torch.linspace(-1, 1, outputs)
        numbers: Any = [(n,) * dims for n in (stride, padding, extra, dilation)]
        layer = QuantizedConvTranspose(codes, torch.tensor(0.005), bias, *numbers, groups, engine)
        for batch in (0, 1, 3):
            x = input_of(batch, inputs, *(5, 4, 3)[:dims])
            floats = TRANSPOSED[dims](x.dequantize(), codes * 0.005, bias, *numbers[:3], groups, numbers[3])
            assert furthest(layer(x, 0.3, 128), floats) <= 1, (kernel, stride, padding, dilation, extra, batch)
