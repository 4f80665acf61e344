"""Convolution and linear layers with int8 weights: plain buffers, and a packed weight that is rebuilt from them."""

from __future__ import annotations

import abc
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.errors import InputError
from fxq_core.native.active import Active
from fxq_core.native.kernels import kernels
from fxq_core.native.saturation import safe_kernel, saturation_free

OPS = torch.ops.quantized
PREPACK = {1: OPS.conv1d_prepack, 2: OPS.conv2d_prepack, 3: OPS.conv3d_prepack}
RUN = {1: OPS.conv1d.default, 2: OPS.conv2d.new, 3: OPS.conv3d.new}
FLOAT_RUN = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
# in place of a kernel's name: computed by torch's float kernel, between conversions
FLOAT = "float"


def _layout(tensor: torch.Tensor) -> torch.memory_format:
    """The memory layout in which convolutions run; linear layers take what comes."""
    return CHANNELS_LAST.get(tensor.dim(), torch.contiguous_format)


class PackedLayer(nn.Module, abc.ABC):
    """A layer whose weight is packed for one engine.

    Buffers, which are all of the state: ``weight`` (int8 codes, output channels first, zero point 0), ``weight_scale``
    (float32, of shape ``(channels,)``, or ``()`` for one in all) and ``bias`` (float32, ``(channels,)``, or None).
    The packed weight is made from them here, in a copy, after unpickling and after loading a state dict.

    Attributes:
        engine: the engine that the model was lowered for.
        kernel: the engine whose kernel is preferred, or "float"; the one in use is safe for the weight and the CPU.
            It is kept by copies and pickles and is no part of the state.
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        engine: str,
        kernel: str | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.engine, self.kernel = engine, engine if kernel is None else kernel

    def _rows(self) -> torch.Tensor:
        """The weight with all codes that one sum runs over in one row."""
        return self.weight.flatten(1)

    def _safe(self, kernel: str) -> tuple[str, bool]:
        """Whose kernel to pack for where one is preferred, and whether the weight must be narrowed first."""
        return safe_kernel(kernel, self._rows())

    def _kernel(self) -> tuple[str, bool]:
        """``_safe`` for the preferred kernel, or for the engine's own where this build of torch lacks that."""
        return self._safe(self.kernel if self.kernel in kernels(self.engine) else self.engine)

    def fxq_alternatives(self) -> tuple[str, ...]:
        """The kernels that compute this layer safely, the one in use first, and "float"."""
        in_use, narrow = self._kernel()
        safe = (name for name in kernels(self.engine) if self._safe(name) == (name, narrow))
        first = FLOAT if self.kernel == FLOAT else in_use
        return tuple(dict.fromkeys((first, in_use, *safe, FLOAT)))

    def fxq_use(self, name: str) -> None:
        """Compute with another of the alternatives from now on."""
        self.kernel = name
        self.pack()

    @abc.abstractmethod
    def _pack(self, weight: torch.Tensor) -> Any:
        """Pack a quantized weight and the bias for the engine that is active now."""

    @abc.abstractmethod
    def _float(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's result for a float input, with the packed weight, which is a float32 tensor now."""

    def _in_float(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        # int8 kernels give channels last whatever they take, and are slow on what is not
        floats = x.dequantize().contiguous(memory_format=_layout(x))
        return torch.quantize_per_tensor(self._float(floats), scale, zero_point, torch.quint8)

    def pack(self) -> None:
        """Bring the packed weight up to date with the buffers.

        Raises:
            InputError: their dtypes were changed; a kernel would read them as what they were.
        """
        floats = [self.weight_scale] if self.bias is None else [self.weight_scale, self.bias]
        if self.weight.dtype is not torch.int8 or any(tensor.dtype is not torch.float32 for tensor in floats):
            raise InputError(
                f"{type(self).__name__} holds an int8 weight with float32 scales and bias, but their dtypes were "
                "changed; convert the float model before it is quantized, not the quantized one"
            )
        weight, scale = self.weight, self.weight_scale
        if self.kernel == FLOAT:
            wide = scale.reshape(-1, *[1] * (weight.dim() - 1))
            self._packed: Any = (weight * wide).contiguous(memory_format=_layout(weight))
            return
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

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_packed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.pack()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.pack()


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
        kernel: str | None = None,
    ) -> None:
        super().__init__(weight, scale, bias, engine, kernel)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.depthwise = groups > 1 and weight.shape[1] == 1
        extents = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilation, strict=True)]
        self.wide_padding = any(pad >= extent for pad, extent in zip(padding, extents, strict=True))
        self._run, self._rank, self._channels = weight.dim() - 2, weight.dim(), weight.shape[1] * groups
        self.pack()

    def _safe(self, kernel: str) -> tuple[str, bool]:
        return safe_kernel(kernel, self._rows(), self.depthwise, self.wide_padding)

    def _pack(self, weight: torch.Tensor) -> Any:
        return PREPACK[self._run](weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def _float(self, x: torch.Tensor) -> torch.Tensor:
        geometry = self.stride, self.padding, self.dilation, self.groups
        return FLOAT_RUN[self._run](x, self._packed, self.bias, *geometry)

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        if x.dim() != self._rank or x.shape[1] != self._channels:
            # QNNPACK's kernel would read what is not there
            raise InputError(
                f"this convolution takes {self._channels} channels in {self._rank} dimensions, but was given a tensor "
                f"of shape {tuple(x.shape)}; give it the inputs that the float model takes"
            )
        if self.kernel == FLOAT:
            return self._in_float(x, scale, zero_point)
        result: torch.Tensor = RUN[self._run](x, self._packed, scale, zero_point)
        return result

    def extra_repr(self) -> str:
        shape, geometry = tuple(self.weight.shape), (self.stride, self.padding, self.dilation, self.groups)
        return f"{shape}, stride={geometry[0]}, padding={geometry[1]}, dilation={geometry[2]}, groups={geometry[3]}"


class QuantizedLinear(PackedLayer):
    """A linear layer; ``forward(x, scale, zero_point)`` turns ``(..., in)`` into ``(..., out)``, quantized."""

    def __init__(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        engine: str,
        kernel: str | None = None,
    ) -> None:
        super().__init__(weight, scale, bias, engine, kernel)
        self.pack()

    def _pack(self, weight: torch.Tensor) -> Any:
        return OPS.linear_prepack(weight, self.bias)

    def _float(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._packed, self.bias)

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        if x.shape[-1] != self.weight.shape[1]:
            raise InputError(
                f"this linear layer takes {self.weight.shape[1]} features, but was given a tensor of shape "
                f"{tuple(x.shape)}; give it the inputs that the float model takes"
            )
        if self.kernel == FLOAT:
            return self._in_float(x, scale, zero_point)
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
