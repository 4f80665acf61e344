"""Convolution and linear layers with int8 weights, and constants."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.errors import InputError
from fxq_core.native.activated import pack_conv, pack_linear
from fxq_core.native.codes import from_codes
from fxq_core.native.packed import PackedLayer
from fxq_core.native.saturation import X86, safe_kernel
from fxq_core.native.validity import check_bias, check_geometry, check_weight

OPS = torch.ops.quantized
PREPACK = {1: OPS.conv1d_prepack, 2: OPS.conv2d_prepack, 3: OPS.conv3d_prepack}
# without the wrapper, which looks through all arguments for what can't be there
RUN = {1: OPS.conv1d.default._op, 2: OPS.conv2d.new._op, 3: OPS.conv3d.new._op}
LINEAR = OPS.linear.default._op
FLOAT_RUN: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class QuantizedConv(PackedLayer):
    """A 1d, 2d or 3d convolution; ``forward(x, scale, zero_point)`` takes and gives quantized tensors.

    ``weight`` has shape ``(out, in / groups, *kernel)``; stride, padding and dilation have one number per dimension.
    Only a 2d one may end in an activation.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
        engine: str,
        kernel: str | None = None,
        activation: str = "",
    ) -> None:
        super().__init__(weight, scale, bias, engine, kernel, activation)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.pack()

    def _check(self) -> None:
        check_weight(self, self.weight, self.weight_scale, self.bias, 0)
        numbers = {"stride": (self.stride, 1), "padding": (self.padding, 0), "dilation": (self.dilation, 1)}
        check_geometry(self, self.weight.dim() - 2, len(self.weight), self.groups, numbers)
        check_bias(self, self.bias, len(self.weight))

    def _needs(self) -> tuple[Any, ...]:
        """The rank, the channels, and by dimension the sizes below which an image is too small, or is padded here."""
        least = tuple((dim, size) for dim, size in enumerate(self._least(), start=2) if size > 1)
        enough = _enough(self.weight.shape[2:], self.padding, self.dilation) if self.engine in X86 else ()
        return self.weight.dim(), self.weight.shape[1] * self.groups, least, enough

    def _least(self) -> tuple[int, ...]:
        """The smallest image in which one window fits."""
        extents = zip(self.weight.shape[2:], self.padding, self.dilation, strict=True)
        return tuple(max((size - 1) * step + 1 - 2 * pad, 1) for size, pad, step in extents)

    def _safe(self, kernel: str) -> tuple[str, bool]:
        return safe_kernel(kernel, self._rows(), self.groups, self.weight.shape[1])

    def _pack(self, weight: torch.Tensor) -> tuple[Any, Any]:
        dims, geometry = weight.dim() - 2, (self.stride, self.padding, self.dilation, self.groups)
        if self.activation:
            return pack_conv(weight, self.bias, geometry, self.activation)
        packed = PREPACK[dims](weight, self.bias, *geometry)
        return packed, RUN[dims]

    def _float(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        geometry = self.stride, self.padding, self.dilation, self.groups
        result: torch.Tensor = FLOAT_RUN[weight.dim() - 2](x, weight, self.bias, *geometry)
        return result

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        packed, run, rank, channels, least, enough = self._packed
        shape = x.shape
        if len(shape) != rank or shape[1] != channels:
            # QNNPACK's kernel would read what is not there
            raise InputError(
                f"this convolution takes {channels} channels in {rank} dimensions, but was given a tensor "
                f"of shape {tuple(shape)}; give it the inputs that the float model takes"
            )
        if least and any(shape[dim] < size for dim, size in least):
            # QNNPACK's kernel would write what is not there
            raise InputError(
                f"this convolution takes inputs of at least {self._least()}, but was given a "
                f"tensor of shape {tuple(shape)}; give it the inputs that the float model takes"
            )
        if enough and any(shape[dim] < size for dim, size in enough):
            return self._padded(x, scale, zero_point)
        result: torch.Tensor = run(x, packed, scale, zero_point)
        return result

    def fxq_trusts(self, other: nn.Module) -> bool:
        """Whether ``other`` always gives what this layer takes."""
        if type(self) is not QuantizedConv or type(other) is not QuantizedConv:
            return False
        _, _, rank, channels, least, enough = self._packed
        return bool(not least and not enough and other.weight.dim() == rank and other.weight.shape[0] == channels)

    def fxq_unchecked(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        """As ``forward``, for the results of a module that it trusts."""
        packed, run, *_ = self._packed
        result: torch.Tensor = run(x, packed, scale, zero_point)
        return result

    def _padded(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        """The same from an input that is padded already."""
        geometry = self.stride, (0,) * len(self.padding), self.dilation, self.groups
        how = self.engine, self.kernel, self.activation
        layer = QuantizedConv(self.weight, self.weight_scale, self.bias, *geometry, *how)
        result: torch.Tensor = layer(F.pad(x, [pad for pad in reversed(self.padding) for _ in "lr"]), scale, zero_point)
        return result

    def _about(self) -> str:
        shape, geometry = tuple(self.weight.shape), (self.stride, self.padding, self.dilation, self.groups)
        return f"{shape}, stride={geometry[0]}, padding={geometry[1]}, dilation={geometry[2]}, groups={geometry[3]}"


def _enough(
    kernel_size: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, float], ...]:
    """By dimension of the input, from which size on no window lies in the padding alone.

    oneDNN's kernels, of torch 2.13 at least, give wrong numbers for such a window, and can end the process.
    """
    found = []
    for dim, (size, pad, step) in enumerate(zip(kernel_size, padding, dilation, strict=True), start=2):
        if pad > (size - 1) * step:
            found.append((dim, math.inf))
        elif pad and size > 1 and step > 1:
            # with fewer elements than a step, a window may have some of its elements before them and the others after
            found.append((dim, step))
    return tuple(found)


class QuantizedLinear(PackedLayer):
    """A linear layer; ``forward(x, scale, zero_point)`` turns ``(..., in)`` into ``(..., out)``, quantized."""

    def __init__(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        engine: str,
        kernel: str | None = None,
        activation: str = "",
    ) -> None:
        super().__init__(weight, scale, bias, engine, kernel, activation)
        self.pack()

    def _check(self) -> None:
        check_weight(self, self.weight, self.weight_scale, self.bias, 2)
        check_bias(self, self.bias, len(self.weight))

    def _needs(self) -> tuple[Any, ...]:
        return (self.weight.shape[1],)

    def _pack(self, weight: torch.Tensor) -> tuple[Any, Any]:
        if self.activation:
            return pack_linear(weight, self.bias, self.activation)
        return OPS.linear_prepack(weight, self.bias), LINEAR

    def _float(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.linear(x, weight, self.bias)

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        packed, run, features = self._packed
        shape = x.shape
        if len(shape) == 1:
            # some kernels refuse a vector, and oneDNN's writes out of bounds
            return self.forward(x.unsqueeze(0), scale, zero_point).squeeze(0)
        if not shape or shape[-1] != features:
            raise InputError(
                f"this linear layer takes {features} features, but was given a tensor of shape "
                f"{tuple(shape)}; give it the inputs that the float model takes"
            )
        if x.numel() == 0:
            # oneDNN's kernel forgets the middle dimensions of an empty tensor
            codes = torch.empty((*x.shape[:-1], self.weight.shape[0]), dtype=torch.uint8)
            return torch._make_per_tensor_quantized_tensor(codes, scale, zero_point)
        result: torch.Tensor = run(x, packed, scale, zero_point)
        return result

    def _about(self) -> str:
        return f"in_features={self.weight.shape[1]}, out_features={self.weight.shape[0]}"


class QuantizedConstant(nn.Module):
    """A constant: ``codes`` (uint8) is its state; ``forward(scale, zero_point)`` gives the quantized tensor.

    It lies in the memory of the codes, and is made anew for other qparams or other codes only.
    """

    codes: torch.Tensor

    def __init__(self, codes: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        self._made: tuple[Any, ...] = ()

    def forward(self, scale: float, zero_point: int) -> torch.Tensor:
        codes, made = self.codes, self._made
        if not made or made[0] is not codes or made[1:3] != (scale, zero_point):
            self._made = made = codes, scale, zero_point, from_codes(codes, scale, zero_point)
        result: torch.Tensor = made[3]
        return result

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": ()}
