"""Transposed convolutions with int8 weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from fxq_core.errors import InputError
from fxq_core.native.packed import PackedLayer
from fxq_core.native.saturation import safe_kernel, transposed_kernel
from fxq_core.native.validity import check_bias, check_geometry, check_weight

OPS = torch.ops.quantized
PREPACK = {1: OPS.conv_transpose1d_prepack, 2: OPS.conv_transpose2d_prepack, 3: OPS.conv_transpose3d_prepack}
RUN = {
    1: OPS.conv_transpose1d.default._op,
    2: OPS.conv_transpose2d.default._op,
    3: OPS.conv_transpose3d.default._op,
}
FLOAT_RUN: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class QuantizedConvTranspose(PackedLayer):
    """A 1d, 2d or 3d transposed convolution; ``forward(x, scale, zero_point)`` takes and gives quantized tensors.

    ``weight`` has shape ``(in, out / groups, *kernel)`` and one scale in all.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        output_padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
        engine: str,
    ) -> None:
        super().__init__(weight, scale, bias, engine)
        self.geometry = stride, padding, output_padding, dilation, groups
        self.pack()

    def _check(self) -> None:
        check_weight(self, self.weight, self.weight_scale, self.bias, 0)
        if self.weight_scale.dim():
            raise InputError(
                f"{type(self).__name__} can't be packed: it has one scale for each channel; give it one in all"
            )
        names = (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1))
        numbers = {name: (given, least) for given, (name, least) in zip(self.geometry[:4], names, strict=True)}
        groups = self.geometry[4]
        check_geometry(self, self.weight.dim() - 2, len(self.weight), groups, numbers)
        check_bias(self, self.bias, self.weight.shape[1] * groups)

    def _needs(self) -> tuple[Any, ...]:
        return self.weight.dim(), self.weight.shape[0]

    def _rows(self) -> torch.Tensor:
        return self.weight.reshape(1, -1)

    def _safe(self, kernel: str) -> tuple[str, bool]:
        return safe_kernel(transposed_kernel(kernel), self._rows())

    def _pack(self, weight: torch.Tensor) -> tuple[Any, Any]:
        stride, padding, output_padding, dilation, groups = self.geometry
        rank = weight.dim()
        if rank == 4 and weight.shape[2] == 2 and padding == (0, 0) and dilation == (1, 1):
            # FBGEMM has a kernel for just this case which gives wrong numbers (torch 2.13); with a row of zeros
            # on either side, cut off by the padding, the weight does the same and goes to another kernel
            codes = F.pad(weight.int_repr(), (0, 0, 1, 1))
            weight = torch._make_per_tensor_quantized_tensor(codes, weight.q_scale(), 0)
            padding = (1, 0)
        packed = PREPACK[rank - 2](weight, self.bias, stride, padding, output_padding, dilation, groups)
        return packed, RUN[rank - 2]

    def _float(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        stride, padding, output_padding, dilation, groups = self.geometry
        run = FLOAT_RUN[weight.dim() - 2]
        result: torch.Tensor = run(x, weight, self.bias, stride, padding, output_padding, groups, dilation)
        return result

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        packed, run, rank, channels = self._packed
        if x.dim() != rank or x.shape[1] != channels:
            raise InputError(
                f"this transposed convolution takes {channels} channels in {rank} dimensions, but "
                f"was given a tensor of shape {tuple(x.shape)}; give it the inputs that the float model takes"
            )
        result: torch.Tensor = run(x, packed, scale, zero_point)
        return result

    def _about(self) -> str:
        names = ("stride", "padding", "output_padding", "dilation", "groups")
        return ", ".join((str(tuple(self.weight.shape)), *map("{}={}".format, names, self.geometry)))
