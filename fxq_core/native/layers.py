"""Convolution and linear layers with int8 weights: plain buffers, and a packed weight that is rebuilt from them."""

from __future__ import annotations

import abc
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.errors import InputError
from fxq_core.native.active import Active
from fxq_core.native.saturation import X86, safe_kernel, saturation_free, why_safe
from fxq_core.native.validity import check_bias, check_geometry, check_weight

OPS = torch.ops.quantized
PREPACK = {1: OPS.conv1d_prepack, 2: OPS.conv2d_prepack, 3: OPS.conv3d_prepack}
RUN = {1: OPS.conv1d.default, 2: OPS.conv2d.new, 3: OPS.conv3d.new}


class PackedLayer(nn.Module, abc.ABC):
    """A layer whose weight is packed for one engine.

    Buffers, which are all of the state: ``weight`` (int8 codes, output channels first, zero point 0), ``weight_scale``
    (float32, of shape ``(channels,)``, or ``()`` for one in all) and ``bias`` (float32, ``(channels,)``, or None).
    The packed weight is made from them here, in a copy, after unpickling and after loading a state dict.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, engine: str) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.engine = engine

    def _rows(self) -> torch.Tensor:
        """The weight with all codes that one sum runs over in one row."""
        return self.weight.flatten(1)

    def _kernel(self) -> tuple[str, bool]:
        """Whose kernel to pack for, and whether the weight must be narrowed first."""
        return safe_kernel(self.engine, self._rows())

    @abc.abstractmethod
    def _check(self) -> None:
        """Refuse what a kernel can't take."""

    @abc.abstractmethod
    def _pack(self, weight: torch.Tensor) -> Any:
        """Pack a quantized weight and the bias for the engine that is active now."""

    def pack(self) -> None:
        """Bring the packed weight up to date with the buffers.

        Raises:
            InputError: they can't be packed; or their dtypes were changed, and a kernel would read them as what they
                were.
        """
        self._check()
        weight, scale = self.weight, self.weight_scale
        kernel, narrow = self._kernel()
        if narrow:
            rows, scale = saturation_free(self._rows(), scale)
            weight = rows.reshape(weight.shape)
        with torch.no_grad(), Active(kernel):
            if scale.dim():
                zero_points = torch.zeros(len(scale), dtype=torch.int64)
                quantized = torch._make_per_channel_quantized_tensor(weight, scale.double(), zero_points, 0)
            else:
                quantized = torch._make_per_tensor_quantized_tensor(weight, scale.item(), 0)
            self._packed = self._pack(quantized)

    def fxq_saturation(self) -> str:
        """Why no int16 sum of this layer saturates on the CPU that this process runs on."""
        return why_safe(self.engine, self._rows(), *self._kernel())

    def fxq_packed_bytes(self) -> int:
        """How much memory the packed weight takes, but for the kernel's own padding."""
        # QNNPACK's keeps the weight that it was made from
        return self.weight.numel() * (1 if self.engine in X86 else 2)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_packed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.pack()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        before = [(buffer, buffer.clone()) for buffer in self.buffers()]
        super()._load_from_state_dict(*args, **kwargs)
        try:
            self.pack()
        except InputError:
            for buffer, value in before:
                buffer.copy_(value)
            raise


class QuantizedConv(PackedLayer):
    """A 1d, 2d or 3d convolution; ``forward(x, scale, zero_point)`` takes and gives quantized tensors.

    ``weight`` has shape ``(out, in / groups, *kernel)``; stride, padding and dilation have one number per dimension.
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
    ) -> None:
        super().__init__(weight, scale, bias, engine)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self._check()
        self._enough = _enough(weight.shape[2:], padding, dilation) if engine in X86 else ()
        extents = zip(weight.shape[2:], padding, dilation, strict=True)
        self._least = tuple(
            (dim, max((size - 1) * step + 1 - 2 * pad, 1)) for dim, (size, pad, step) in enumerate(extents, start=2)
        )
        self._run, self._rank, self._channels = weight.dim() - 2, weight.dim(), weight.shape[1] * groups
        self.pack()

    def _check(self) -> None:
        check_weight(self, self.weight, self.weight_scale, self.bias, 0)
        numbers = {"stride": (self.stride, 1), "padding": (self.padding, 0), "dilation": (self.dilation, 1)}
        check_geometry(self, self.weight.dim() - 2, len(self.weight), self.groups, numbers)
        check_bias(self, self.bias, len(self.weight))

    def _kernel(self) -> tuple[str, bool]:
        return safe_kernel(self.engine, self._rows(), self.groups, self.weight.shape[1])

    def _pack(self, weight: torch.Tensor) -> Any:
        return PREPACK[self._run](weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        if x.dim() != self._rank or x.shape[1] != self._channels:
            # QNNPACK's kernel would read what is not there
            raise InputError(
                f"this convolution takes {self._channels} channels in {self._rank} dimensions, but was given a tensor "
                f"of shape {tuple(x.shape)}; give it the inputs that the float model takes"
            )
        if any(x.shape[dim] < size for dim, size in self._least):
            # QNNPACK's kernel would write what is not there
            raise InputError(
                f"this convolution takes inputs of at least {tuple(size for _, size in self._least)}, but was given a "
                f"tensor of shape {tuple(x.shape)}; give it the inputs that the float model takes"
            )
        if any(x.shape[dim] < size for dim, size in self._enough):
            return self._padded(x, scale, zero_point)
        result: torch.Tensor = RUN[self._run](x, self._packed, scale, zero_point)
        return result

    def _padded(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        """The same from an input that is padded already."""
        rest = self.stride, (0,) * self._run, self.dilation, self.groups, self.engine
        layer = QuantizedConv(self.weight, self.weight_scale, self.bias, *rest)
        result: torch.Tensor = layer(F.pad(x, [pad for pad in reversed(self.padding) for _ in "lr"]), scale, zero_point)
        return result

    def extra_repr(self) -> str:
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

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, engine: str) -> None:
        super().__init__(weight, scale, bias, engine)
        self.pack()

    def _check(self) -> None:
        check_weight(self, self.weight, self.weight_scale, self.bias, 2)
        check_bias(self, self.bias, len(self.weight))

    def _pack(self, weight: torch.Tensor) -> Any:
        return OPS.linear_prepack(weight, self.bias)

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        if x.dim() == 1:
            # some kernels refuse a vector, and oneDNN's writes out of bounds
            return self.forward(x.unsqueeze(0), scale, zero_point).squeeze(0)
        if x.dim() == 0 or x.shape[-1] != self.weight.shape[1]:
            raise InputError(
                f"this linear layer takes {self.weight.shape[1]} features, but was given a tensor of shape "
                f"{tuple(x.shape)}; give it the inputs that the float model takes"
            )
        if x.numel() == 0:
            # oneDNN's kernel forgets the middle dimensions of an empty tensor
            codes = torch.empty((*x.shape[:-1], self.weight.shape[0]), dtype=torch.uint8)
            return torch._make_per_tensor_quantized_tensor(codes, scale, zero_point)
        result: torch.Tensor = OPS.linear(x, self._packed, scale, zero_point)
        return result

    def extra_repr(self) -> str:
        return f"in_features={self.weight.shape[1]}, out_features={self.weight.shape[0]}"


class QuantizedConstant(nn.Module):
    """A constant: ``codes`` (uint8) is its state; ``forward(scale, zero_point)`` gives the quantized tensor."""

    codes: torch.Tensor

    def __init__(self, codes: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, scale: float, zero_point: int) -> torch.Tensor:
        return torch._make_per_tensor_quantized_tensor(self.codes, scale, zero_point)
