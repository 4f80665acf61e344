"""The strategies give only what torch accepts, and reach the corners that matter."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import Phase, find, given, settings, strategies as st

from fxq_core.testing import strategies
from fxq_core.testing.strategies import ConvArguments

SEARCH = settings(max_examples=5000, database=None, phases=[Phase.generate])


@given(strategies.tensors())
def test_tensors_are_finite(x: torch.Tensor) -> None:
    assert x.dtype is torch.float32
    assert x.dim() == 1
    assert x.numel() <= 20
    assert bool(x.isfinite().all())


@given(strategies.tensors(shape=(2, 3), dtype=torch.float64), strategies.tensors(strategies.shapes(2, 3, 1, 2)))
def test_tensors_have_the_shape_that_is_asked_for(fixed: torch.Tensor, drawn: torch.Tensor) -> None:
    assert (fixed.shape, fixed.dtype) == ((2, 3), torch.float64)
    assert drawn.dim() in (2, 3)
    assert set(drawn.shape) <= {1, 2}


@given(strategies.tensors(elements=st.sampled_from([1.0, math.inf])))
def test_tensors_hold_what_is_asked_for(x: torch.Tensor) -> None:
    assert set(x.tolist()) <= {1.0, math.inf}


@pytest.mark.parametrize(
    "corner",
    [
        lambda x: x.numel() == 0,
        lambda x: x.numel() == 20,
        lambda x: x.numel() and bool((x == 0).all()),
        lambda x: x.numel() and float(x.max()) > 1e29,
        lambda x: x.numel() and float(x.min()) < -1e29,
        lambda x: x.numel() > 1 and float(x.min()) > 0,
        lambda x: x.numel() > 1 and float(x.max()) < 0,
        lambda x: x.numel() and 0 < float(x.abs().max()) < 1e-6,
    ],
)
def test_tensors_reach_the_corners(corner: Any) -> None:
    find(strategies.tensors(), corner, settings=SEARCH)


@given(strategies.shapes(), strategies.shapes(1, 2, 3, 4))
def test_shapes(any_shape: tuple[int, ...], bounded: tuple[int, ...]) -> None:
    assert 0 <= len(any_shape) <= 4
    assert all(0 <= size <= 6 for size in any_shape)
    assert len(bounded) in (1, 2)
    assert set(bounded) <= {3, 4}


@pytest.mark.parametrize("corner", [(), (0,), (1,), (6, 6), (2, 0, 3)])
def test_shapes_reach_the_corners(corner: tuple[int, ...]) -> None:
    assert find(strategies.shapes(), lambda shape: shape == corner, settings=SEARCH) == corner


@pytest.mark.parametrize("dims", [1, 2, 3])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_torch_takes_every_convolution(dims: int, data: st.DataObject) -> None:
    arguments = data.draw(strategies.conv_arguments(dims=dims))
    layer = arguments.module()
    result = layer(torch.zeros(arguments.shape(2)))
    assert result.shape == (2, arguments.out_channels, *arguments.output_size)
    assert result.numel()
    assert layer(torch.zeros(arguments.shape(0))).shape[0] == 0
    assert not layer.training
    assert (layer.bias is not None) == arguments.bias


def is_depthwise(a: ConvArguments) -> bool:
    return a.groups == a.in_channels == a.out_channels > 1


@pytest.mark.parametrize(
    "corner",
    [
        is_depthwise,
        lambda a: 1 < a.groups < a.in_channels,
        lambda a: a.groups == a.in_channels > 1 and a.out_channels == 2 * a.in_channels,
        lambda a: a.groups == 1 and a.in_channels == 3,
        lambda a: min(a.dilation) > 1 and min(a.kernel_size) > 1,
        lambda a: a.stride[0] != a.stride[1],
        lambda a: min(a.stride) == 3,
        lambda a: min(a.padding) > 0 and max(a.size) == 1,
        lambda a: any(p >= k for p, k in zip(a.padding, a.kernel_size, strict=True)),
        lambda a: a.kernel_size == (1, 1) and a.padding == (0, 0),
        lambda a: a.output_size == (1, 1),
        lambda a: min(a.output_size) == 5,
        # a stride that leaves some of the input over
        lambda a: any((n + 2 * p - d * (k - 1) - 1) % s for n, p, d, k, s in zip(
            a.size, a.padding, a.dilation, a.kernel_size, a.stride, strict=True)),
        lambda a: not a.bias,
    ],
)  # fmt: skip
def test_convolutions_reach_the_corners(corner: Any) -> None:
    find(strategies.conv_arguments(), corner, settings=SEARCH)


def test_a_convolution_without_dimensions() -> None:
    with pytest.raises(ValueError, match="dimensions") as caught:
        find(strategies.conv_arguments(dims=4), lambda a: True)
    assert str(caught.value) == "a convolution has 1, 2 or 3 dimensions, not 4"
