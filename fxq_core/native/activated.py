"""oneDNN's kernels that end in an activation: computed on the exact sums, so there is one rounding and not two.

They take and give bytes, and their weights are packed apart; torch has them for the code that its compiler generates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from fxq_core.native.codes import codes_of, from_codes

ONEDNN = torch.ops.onednn
# what the kernels need to know of the input when a weight is packed is only whether its zero point may be other than 0
SCALE, ZERO_POINT = 1.0, 1


class Activation(NamedTuple):
    """What the kernels call it, by name and algorithm, and the function in float."""

    name: str
    algorithm: str
    function: Callable[[torch.Tensor], torch.Tensor]


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "silu": Activation("swish", "none", F.silu),
        "hardswish": Activation("hardswish", "none", F.hardswish),
        "gelu": Activation("gelu", "none", F.gelu),
        "gelu_tanh": Activation("gelu", "tanh", lambda x: F.gelu(x, approximate="tanh")),
    }
)


def available() -> bool:
    """Whether this build of torch has the kernels."""
    return hasattr(ONEDNN, "qconv_pointwise") and hasattr(ONEDNN, "qlinear_pointwise")


def pack_conv(
    weight: torch.Tensor, bias: torch.Tensor | None, geometry: tuple[Any, ...], activation: str
) -> tuple[Any, Any]:
    """A quantized weight of shape ``(out, in / groups, *kernel)``, packed, and what takes it.

    Args:
        geometry: stride, padding, dilation and groups.
    """
    name, algorithm, _ = ACTIVATIONS[activation]
    *sides, groups = geometry
    scales, zero_points = _scales(weight)
    packed = ONEDNN.qconv_prepack(weight.int_repr(), scales, SCALE, ZERO_POINT, *sides, groups, None)
    kernel, rest = ONEDNN.qconv_pointwise.default._op, (*sides, groups)

    def run(x: torch.Tensor, packed: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        codes = kernel(
            codes_of(x), x.q_scale(), x.q_zero_point(), packed, scales, zero_points, bias, *rest,
            scale, zero_point, torch.uint8, name, [], algorithm,
        )  # fmt: skip
        return from_codes(codes, scale, zero_point)

    return packed, run


def pack_linear(weight: torch.Tensor, bias: torch.Tensor | None, activation: str) -> tuple[Any, Any]:
    """A quantized weight of shape ``(out, in)``, packed, and what takes it."""
    name, algorithm, _ = ACTIVATIONS[activation]
    scales, zero_points = _scales(weight)
    packed = ONEDNN.qlinear_prepack(weight.int_repr(), None)
    kernel = ONEDNN.qlinear_pointwise.default._op

    def run(x: torch.Tensor, packed: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        codes = kernel(
            codes_of(x), x.q_scale(), x.q_zero_point(), packed, scales, zero_points, bias,
            scale, zero_point, torch.uint8, name, [], algorithm,
        )  # fmt: skip
        return from_codes(codes, scale, zero_point)

    return packed, run


def _scales(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale and a zero point for each output channel."""
    channels = len(weight)
    if weight.qscheme() is torch.per_channel_affine:
        scales = weight.q_per_channel_scales().float()
    else:
        scales = torch.full((channels,), weight.q_scale())
    return scales, torch.zeros(channels, dtype=torch.int64)
