"""Convolutions and linear layers: int8 weights, int32 sums, and one multiplication per result."""

from __future__ import annotations

import abc
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxq_integer.fixed_point import code_range, requantized

CONVOLUTIONS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class IntegerLayer(nn.Module, abc.ABC):
    """A layer that computes ``sum((x - zero_point) * weight) + bias`` in int32, as in section 2.4 of the paper.

    Buffers, which are all of the state: ``weight`` (int8 codes, output channels first, zero point 0), ``weight_scale``
    (float32, of shape ``(channels,)``, or ``()`` for one in all) and ``bias`` (float32, ``(channels,)``, or None).

    On a chip, the int32 bias, the multiplier and the shift are constants that a compiler makes of the scales. Here
    they are made in each call, so that one layer may be called with inputs of several scales, and so that the
    state dict of another calibration can be loaded. No activation ever meets a floating-point number.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @abc.abstractmethod
    def accumulate(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The int32 sums; all arguments are int32."""

    # where the output channels of the sums are, from the end
    channel_axis: int

    def forward(
        self,
        x: torch.Tensor,
        input_scale: float,
        input_zero_point: int,
        scale: float,
        zero_point: int,
        low: float,
        high: float,
    ) -> torch.Tensor:
        """From uint8 codes to uint8 codes, whose values are limited to ``low`` and ``high``."""
        step = input_scale * self.weight_scale.double()  # what 1 in the sum stands for
        bias = None if self.bias is None else torch.round(self.bias.double() / step).int()
        sums = self.accumulate(x.int() - input_zero_point, self.weight.int(), bias)
        factor = (step / scale).reshape(-1, *(1,) * (-self.channel_axis - 1))
        return requantized(sums, factor, zero_point, *code_range(low, high, scale, zero_point))

    def extra_repr(self) -> str:
        return f"weight={tuple(self.weight.shape)}"


class IntegerLinear(IntegerLayer):
    """A linear layer; the weight has shape ``(out, in)``."""

    channel_axis = -1

    def accumulate(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return F.linear(x, weight, bias)


class IntegerConv(IntegerLayer):
    """A 1d, 2d or 3d convolution; the weight has shape ``(out, in / groups, *kernel)``."""

    def __init__(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> None:
        super().__init__(weight, scale, bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.channel_axis = 1 - weight.dim()

    def accumulate(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        # the input holds distances from its zero point, so the padding is 0 in any case
        convolve = CONVOLUTIONS[weight.dim() - 2]
        taps = dilated(weight, self.dilation)
        sums: torch.Tensor = convolve(x, taps, bias, self.stride, self.padding, groups=self.groups)
        return sums

    def extra_repr(self) -> str:
        geometry = f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, groups={self.groups}"
        return f"{super().extra_repr()}, {geometry}"


def dilated(weight: torch.Tensor, dilation: tuple[int, ...]) -> torch.Tensor:
    """The weight with zeros between its taps: torch has no dilated convolution of integers."""
    if all(step == 1 for step in dilation):
        return weight
    sizes = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilation, strict=True)]
    spread = weight.new_zeros(*weight.shape[:2], *sizes)
    taps: Any = (..., *(slice(None, None, step) for step in dilation))
    spread[taps] = weight
    return spread
