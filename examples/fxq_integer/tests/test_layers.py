"""Layers against loops over Python's integers: every code is the same, on any geometry."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from fxq_core.testing import strategies
from fxq_integer.engine import reject
from fxq_integer.fixed_point import code_range, fixed_point
from fxq_integer.layers import IntegerConv, IntegerLinear

INPUT, OUTPUT = (0.02, 100), (0.3, 120)
NO_LIMITS = -math.inf, math.inf


def random(seed: int, low: int, high: int, *shape: int) -> torch.Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def requantized(total: int, factor: float, low: int, high: int) -> int:
    multiplier, shift = map(int, fixed_point(torch.tensor(factor, dtype=torch.float64)))
    return min(max(((total * multiplier + (1 << (shift - 1))) >> shift) + OUTPUT[1], low), high)


def convolved(layer: IntegerConv, x: torch.Tensor, limits: tuple[float, float]) -> torch.Tensor:
    """Section 2.4 of the paper in loops; ``x`` holds codes of shape ``(batch, in, *size)``."""
    channels = layer.weight.shape[0]
    per_group, out_per_group = layer.weight.shape[1], channels // layer.groups
    kernel = layer.weight.shape[2:]
    geometry = list(zip(x.shape[2:], kernel, layer.stride, layer.padding, layer.dilation, strict=True))
    sizes = [(size + 2 * pad - step * (taps - 1) - 1) // stride + 1 for size, taps, stride, pad, step in geometry]
    result = torch.empty(x.shape[0], channels, *sizes, dtype=torch.uint8)
    steps = [INPUT[0] * float(scale) for scale in layer.weight_scale.double()]
    for place in itertools.product(*map(range, result.shape)):
        image, channel, *at = place
        total = 0
        for inner, *tap in itertools.product(range(per_group), *map(range, kernel)):
            source = [a * g[2] - g[3] + t * g[4] for a, t, g in zip(at, tap, geometry, strict=True)]
            if all(0 <= s < size for s, size in zip(source, x.shape[2:], strict=True)):
                code = int(x[(image, channel // out_per_group * per_group + inner, *source)])
                total += (code - INPUT[1]) * int(layer.weight[(channel, inner, *tap)])
        if layer.bias is not None:
            total += round(float(layer.bias[channel].double()) / steps[channel])
        assert -(2**31) <= total < 2**31
        result[place] = requantized(total, steps[channel] / OUTPUT[0], *code_range(*limits, *OUTPUT))
    return result


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3).flatmap(
        lambda dims: strategies.conv_arguments(
            dims, max_kernel=3, max_stride=2, max_padding=2, max_dilation=2, max_groups=3, max_multiple=2, max_output=3
        )
    ),
    st.integers(0, 2**31),
)
def test_a_convolution_is_the_sum_that_the_paper_writes(conv: strategies.ConvArguments, seed: int) -> None:
    scale = 0.001 + torch.rand(conv.out_channels, generator=torch.Generator().manual_seed(seed)) / 10
    bias = random(seed, -999, 1000, conv.out_channels) / 100.0 if conv.bias else None
    per_group = conv.in_channels // conv.groups
    weight = random(seed, -127, 128, conv.out_channels, per_group, *conv.kernel_size).to(torch.int8)
    layer = IntegerConv(weight, scale, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    x = random(seed, 0, 256, *conv.shape(2)).to(torch.uint8)
    for limits in (NO_LIMITS, (0.0, 6.0)):
        result = layer(x, *INPUT, *OUTPUT, *limits)
        assert (result.dtype, result.shape[2:]) == (torch.uint8, conv.output_size)
        assert torch.equal(result, convolved(layer, x, limits))


@pytest.mark.parametrize("shape", [(2,), (0,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_linear_layer_is_a_convolution_of_one_point(shape: tuple[int, ...], biased: bool) -> None:
    weight, bias = random(0, -127, 128, 4, 6).to(torch.int8), torch.linspace(-5, 5, 4) if biased else None
    scale = torch.tensor([0.01, 0.02, 0.03, 0.2])
    x = random(1, 0, 256, *shape, 6).to(torch.uint8)
    result = IntegerLinear(weight, scale, bias)(x, *INPUT, *OUTPUT, *NO_LIMITS)
    conv = IntegerConv(weight.reshape(4, 6, 1), scale, bias, (1,), (0,), (1,), 1)
    points = convolved(conv, x.reshape(-1, 6, 1), NO_LIMITS)
    assert torch.equal(result, points.reshape(*shape, 4))


def test_the_bias_is_rounded_to_the_nearest_step_of_the_sum() -> None:
    bias = torch.tensor([0.06, 0.07, -0.06, -0.07, 1.0])
    layer = IntegerLinear(torch.ones(5, 2, dtype=torch.int8), torch.tensor(0.5), bias)
    zeros = torch.full((1, 2), 100, dtype=torch.uint8)
    # a step is 0.25 * 0.5, which is one code of the result, too
    assert layer(zeros, 0.25, 100, 0.125, 50, *NO_LIMITS).tolist() == [[50, 51, 50, 49, 58]]


def test_one_scale_for_the_whole_weight_is_one_for_each_channel() -> None:
    weight, x = random(0, -127, 128, 4, 6).to(torch.int8), random(1, 0, 256, 3, 6).to(torch.uint8)
    one, each = (IntegerLinear(weight, scale, None) for scale in (torch.tensor(0.01), torch.full((4,), 0.01)))
    assert torch.equal(one(x, *INPUT, *OUTPUT, *NO_LIMITS), each(x, *INPUT, *OUTPUT, *NO_LIMITS))


def test_the_probe_accepts_this_torch_and_names_what_is_wrong_with_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reject() is None
    right = torch.nn.functional.conv2d
    monkeypatch.setattr("torch.nn.functional.conv2d", lambda x, w: right(x, w) + 1)
    assert reject() == "its int32 convolution or product gives wrong numbers"

    def missing(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Int'\nand more")

    monkeypatch.setattr("torch.nn.functional.conv2d", missing)
    assert reject() == "its probe failed with RuntimeError: \"slow_conv2d_cpu\" not implemented for 'Int'"
