"""Layers with weights: sums in int64, which must fit int32, and each kernel's way from there to a code.

A kernel computes in float32 from its sums on, and so does this, one operation at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.native.saturation import saturation_free
from fxq_core.types import QParams

from support.oracle.call import Call
from support.oracle.codes import Codes, float32, zero_point_first, zero_point_last

CONVOLUTIONS: dict[type[nn.Module], Any] = {nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d, nn.Conv3d: F.conv3d}
TRANSPOSED: dict[type[nn.Module], Any] = {
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
    nn.ConvTranspose3d: F.conv_transpose3d,
}
LAYERS = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


class Weight(NamedTuple):
    """int64 codes, float32 scales of shape ``(channels,)`` or ``()``, and the float32 bias."""

    values: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None


def weight_of(layer: Any) -> Weight:
    """What a lowered layer computes with: its state, or what is left of it where that could saturate."""
    values, scale = layer.weight, layer.weight_scale
    if hasattr(layer, "fxq_saturation") and "narrowed" in layer.fxq_saturation():
        rows, scale = saturation_free(values.flatten(1), scale)
        values = rows.reshape(values.shape)
    return Weight(values.long(), scale, layer.bias)


def sums(x: Codes, weight: torch.Tensor, like: Any) -> torch.Tensor:
    """The products of codes, summed as the float layer ``like`` does; channels last.

    Raises:
        AssertionError: a sum does not fit int32.
    """
    if isinstance(like, nn.Linear):
        result = F.linear(x.steps(), weight)
    elif type(like) in CONVOLUTIONS:
        geometry = like.stride, like.padding, like.dilation, like.groups
        result = CONVOLUTIONS[type(like)](x.steps(), weight, None, *geometry).movedim(1, -1)
    else:
        geometry = like.stride, like.padding, like.output_padding, like.groups, like.dilation
        result = TRANSPOSED[type(like)](x.steps(), weight, None, *geometry).movedim(1, -1)
    assert not result.numel() or int(result.abs().max()) < 2**31
    return result


def fbgemm(total: torch.Tensor, weight: Weight, x: QParams, output: QParams) -> torch.Tensor:
    """The bias in steps of the sums is added in float32; the zero point is added last.

    With a scale for each channel the bias is divided by it; with one in all it is multiplied by the inverse, and added
    in the same instruction, which rounds once.
    """
    scale = float32(x.scale) * weight.scale
    steps = total.float()
    if weight.bias is not None and scale.dim():
        steps = steps + weight.bias / scale
    elif weight.bias is not None:
        steps = (total.double() + weight.bias.double() * (1 / scale).double()).float()
    return zero_point_last(steps * (scale / float32(output.scale)), output)


def onednn(total: torch.Tensor, weight: Weight, x: QParams, output: QParams) -> torch.Tensor:
    """The sums become numbers, one scale after the other, and the bias is added; the zero point before rounding."""
    numbers = total.float() * float32(x.scale) * weight.scale
    if weight.bias is not None:
        numbers = numbers + weight.bias
    return zero_point_first(numbers * (1 / float32(output.scale)), output)


def qnnpack(total: torch.Tensor, weight: Weight, x: QParams, output: QParams) -> torch.Tensor:
    """The bias is rounded to the scale of the sums and added in int32; the zero point is added last."""
    scale = float32(x.scale) * weight.scale
    if weight.bias is not None:
        total = total + torch.round(weight.bias * (1 / scale)).long()
    return zero_point_last(total.float() * (scale / float32(output.scale)), output)


KERNELS = {"fbgemm": fbgemm, "onednn": onednn, "qnnpack": qnnpack}


def exact(call: Call) -> torch.Tensor:
    """The result of a layer, and of an activation that is one with it, in steps of the output's scale; float64."""
    layer, total, weight, x = _of(call)
    numbers = total.double() * (x.scale * weight.scale.double())
    if weight.bias is not None:
        numbers = numbers + weight.bias.double()
    if call.activation is not None:
        numbers = call.activation(numbers)
    return _channels_first(layer, numbers) / call.output.scale


def codes(call: Call) -> torch.Tensor:
    """What the kernel that a layer is packed for makes of it, before a clamp."""
    layer, total, weight, x = _of(call)
    return _channels_first(layer, KERNELS[call.kernel](total, weight, x, call.output))


def _of(call: Call) -> tuple[nn.Module, torch.Tensor, Weight, QParams]:
    layer, weight, (x,) = call.match.modules[0], weight_of(call.layer), call.inputs
    assert layer is not None
    return layer, sums(x, weight.values, layer), weight, x.qparams


def _channels_first(layer: nn.Module, result: torch.Tensor) -> torch.Tensor:
    return result if isinstance(layer, nn.Linear) else result.movedim(-1, 1)
