"""Normalization layers over codes; their weights stay float, as the kernels take them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

OPS = torch.ops.quantized


class QuantizedNorm(nn.Module):
    """A normalization; ``forward(x, scale, zero_point)`` takes and gives quantized tensors of one shape.

    Args:
        layer: the float layer; what it holds under the names of ``tensors`` is kept under the same names.
        kernel: the name of the kernel in ``torch.ops.quantized``.
        leading: the kernel's arguments between the input and the tensors.
        tensors: which tensors of the layer the kernel takes, in its order.
    """

    def __init__(self, layer: Any, kernel: str, leading: tuple[Any, ...], tensors: tuple[str, ...]) -> None:
        super().__init__()
        self.kernel, self.leading, self.tensors, self.eps = kernel, leading, tensors, layer.eps
        for name in tensors:
            tensor = getattr(layer, name)
            self.register_buffer(name, None if tensor is None else tensor.detach().clone())

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        tensors = (getattr(self, name) for name in self.tensors)
        result: torch.Tensor = getattr(OPS, self.kernel)(x, *self.leading, *tensors, self.eps, scale, zero_point)
        return result

    def extra_repr(self) -> str:
        return ", ".join(map(str, (self.kernel, *self.leading, f"eps={self.eps}")))
