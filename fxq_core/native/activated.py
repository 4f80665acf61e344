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
    packed = ONEDNN.qconv_prepack(weight.int_repr(), _scales(weight), SCALE, ZERO_POINT, *geometry, None)
    return packed, _runs(ONEDNN.qconv_pointwise, weight, bias, geometry, activation)


def pack_linear(weight: torch.Tensor, bias: torch.Tensor | None, activation: str) -> tuple[Any, Any]:
    """A quantized weight of shape ``(out, in)``, packed, and what takes it."""
    packed = ONEDNN.qlinear_prepack(weight.int_repr(), None)
    return packed, _runs(ONEDNN.qlinear_pointwise, weight, bias, (), activation)


def _runs(
    kernel: Any, weight: torch.Tensor, bias: torch.Tensor | None, geometry: tuple[Any, ...], activation: str
) -> Callable[..., torch.Tensor]:
    """A call of a kernel for the weight: on a quantized tensor, the packed weight, and the qparams of the result."""
    name, algorithm, _ = ACTIVATIONS[activation]
    scales, zero_points = _scales(weight), torch.zeros(len(weight), dtype=torch.int64)
    call = kernel.default._op

    def run(x: torch.Tensor, packed: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        codes = call(
            codes_of(x), x.q_scale(), x.q_zero_point(), packed, scales, zero_points, bias, *geometry,
            scale, zero_point, torch.uint8, name, [], algorithm,
        )  # fmt: skip
        return from_codes(codes, scale, zero_point)

    return run


def _scales(weight: torch.Tensor) -> torch.Tensor:
    """A scale for each output channel."""
    if weight.qscheme() is torch.per_channel_affine:
        return weight.q_per_channel_scales().float()
    return torch.full((len(weight),), weight.q_scale())
