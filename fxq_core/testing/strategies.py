"""Hypothesis strategies for tensors, shapes and the arguments of convolutions; all that they give is valid.

They draw plain data, so that examples shrink to small ones and print as what one can type::

    @given(strategies.tensors())
    def test_it_takes_anything(x: torch.Tensor) -> None: ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st

LARGEST = 2.0**100


def numbers(largest: float = LARGEST) -> st.SearchStrategy[float]:
    """Finite float32 numbers: from 0 to ``largest`` on both sides, many of them small, none subnormal."""
    few = min(8.0, largest)
    return (
        st.floats(-largest, largest, width=32, allow_subnormal=False)
        | st.floats(-few, few, width=32, allow_subnormal=False)
        | st.just(0.0)
    )


def shapes(
    min_dims: int = 0, max_dims: int = 4, min_size: int = 0, max_size: int = 6
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of tensors; with ``min_size=0`` some of them hold nothing."""
    return st.lists(st.integers(min_size, max_size), min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def tensors(
    draw: st.DrawFn,
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]] | None = None,
    elements: st.SearchStrategy[float] | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Tensors of finite numbers.

    Args:
        shape: one, or a strategy for it; None draws one-dimensional tensors of up to 20 elements.
        elements: what they hold; None draws ``numbers()``.
        dtype: of the tensor.
    """
    sizes = shapes(1, 1, 0, 20) if shape is None else shape
    drawn = draw(sizes) if isinstance(sizes, st.SearchStrategy) else sizes
    count = math.prod(drawn)
    values = draw(st.lists(numbers() if elements is None else elements, min_size=count, max_size=count))
    return torch.tensor(values, dtype=dtype).reshape(drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvArguments:
    """A convolution that torch accepts, and the size of an input for which its output is not empty.

    All but the channels and ``groups`` hold one number per dimension. ``module`` makes the layer.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    size: tuple[int, ...]

    @property
    def output_size(self) -> tuple[int, ...]:
        """``floor((size + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1``, at least 1 each."""
        each = zip(self.size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)

    def shape(self, batch: int) -> tuple[int, ...]:
        """Of an input."""
        return batch, self.in_channels, *self.size

    def module(self) -> torch.nn.Module:
        """The layer, with random weights, in eval mode."""
        kinds: tuple[Any, ...] = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
        layer: torch.nn.Module = kinds[len(self.size) - 1](
            self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation,
            self.groups, self.bias,
        )  # fmt: skip
        return layer.eval()


@st.composite
def conv_arguments(
    draw: st.DrawFn,
    dims: int = 2,
    max_kernel: int = 4,
    max_stride: int = 3,
    max_padding: int = 3,
    max_dilation: int = 3,
    max_groups: int = 4,
    max_multiple: int = 3,
    max_output: int = 5,
) -> ConvArguments:
    """Arguments of a convolution over ``dims`` dimensions: dense, grouped, depthwise, dilated, strided, padded.

    Args:
        dims: 1, 2 or 3.
        max_multiple: how many channels a group has at most, on either side.
        max_output: how large the output is at most, in each dimension, where the padding allows it.
    """
    if dims not in (1, 2, 3):
        raise ValueError(f"a convolution has 1, 2 or 3 dimensions, not {dims}")

    def each(low: int, high: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(low, high)] * dims))

    groups = draw(st.integers(1, max_groups))
    kernel_size, stride, padding = each(1, max_kernel), each(1, max_stride), each(0, max_padding)
    dilation = each(1, max_dilation)
    wanted, rest = each(1, max_output), each(0, max_stride - 1)
    # the smallest input that gives the wanted output, and some that a stride leaves over; never empty
    size = tuple(
        max(1, (o - 1) * s + d * (k - 1) + 1 - 2 * p + min(r, s - 1))
        for o, s, d, k, p, r in zip(wanted, stride, dilation, kernel_size, padding, rest, strict=True)
    )
    return ConvArguments(
        in_channels=groups * draw(st.integers(1, max_multiple)),
        out_channels=groups * draw(st.integers(1, max_multiple)),
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        size=size,
    )
