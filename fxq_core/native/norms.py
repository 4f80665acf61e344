"""Normalization layers over codes; their weights stay float, as the kernels take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fxq_core.native.codes import codes_of, from_codes

OPS = torch.ops.quantized
# their kernels for channels_last tensors, of torch 2.13 at least, give wrong numbers for many groups of few values
NOT_CHANNELS_LAST = frozenset({"group_norm", "instance_norm"})


class QuantizedNorm(nn.Module):
    """A normalization; ``forward(x, scale, zero_point)`` takes and gives quantized tensors of one shape.

    Args:
        kernel: the name of the kernel in ``torch.ops.quantized``.
        leading: the kernel's arguments between the input and the tensors.
        tensors: the float tensors that the kernel takes, in its order, under the names they have in the float layer.
        eps: what is added to the variance.
    """

    def __init__(
        self, kernel: str, leading: tuple[Any, ...], tensors: Mapping[str, torch.Tensor | None], eps: float
    ) -> None:
        super().__init__()
        self.kernel, self.leading, self.tensors, self.eps = kernel, leading, tuple(tensors), eps
        for name, tensor in tensors.items():
            self.register_buffer(name, None if tensor is None else tensor.detach().clone())

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        if x.numel() == 0:
            # some kernels would divide by the number of values
            return from_codes(codes_of(x), scale, zero_point)
        if x.dim() == 2 and self.kernel == "group_norm":
            # which takes no vectors, as the float op does
            return self.forward(x.unsqueeze(-1), scale, zero_point).squeeze(-1)
        if self.kernel in NOT_CHANNELS_LAST:
            x = x.contiguous()
        tensors = (getattr(self, name) for name in self.tensors)
        result: torch.Tensor = getattr(OPS, self.kernel)(x, *self.leading, *tensors, self.eps, scale, zero_point)
        return result

    def extra_repr(self) -> str:
        return ", ".join(map(str, (self.kernel, *self.leading, f"eps={self.eps}")))
