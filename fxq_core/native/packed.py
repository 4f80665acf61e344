"""A layer with an int8 weight: plain buffers, and a packed weight that is rebuilt from them."""

from __future__ import annotations

import abc
from typing import Any

import torch
from torch import nn

from fxq_core.errors import InputError
from fxq_core.native.activated import ACTIVATIONS
from fxq_core.native.active import Active
from fxq_core.native.kernels import FLOAT, kernels
from fxq_core.native.saturation import ONEDNN, X86, safe_kernel, saturation_free, why_safe
from fxq_core.watched import changed

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def _layout(tensor: torch.Tensor) -> torch.memory_format:
    """The memory layout in which convolutions run; linear layers take what comes."""
    return CHANNELS_LAST.get(tensor.dim(), torch.contiguous_format)


class PackedLayer(nn.Module, abc.ABC):
    """A layer whose weight is packed for one kernel.

    Buffers, which are all of the state: ``weight`` (int8 codes, output channels first, zero point 0), ``weight_scale``
    (float32, of shape ``(channels,)``, or ``()`` for one in all) and ``bias`` (float32, ``(channels,)``, or None).
    The packed weight is made from them here, in a copy, after unpickling and after loading a state dict.

    Attributes:
        engine: the engine that the model was lowered for.
        kernel: the engine whose kernel is preferred, or "float"; the one in use is safe for the weight and the CPU.
            It is kept by copies and pickles and is no part of the state.
        activation: the one of ``ACTIVATIONS`` that ends it, which oneDNN's kernel alone computes; or "".
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
        activation: str = "",
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.engine, self.kernel = engine, engine if kernel is None else kernel
        self.activation = activation

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        changed()

    def _rows(self) -> torch.Tensor:
        """The weight with all codes that one sum runs over in one row."""
        return self.weight.flatten(1)

    def _safe(self, kernel: str) -> tuple[str, bool]:
        """Whose kernel to pack for where one is preferred, and whether the weight must be narrowed first."""
        return safe_kernel(kernel, self._rows())

    def _kernels(self) -> tuple[str, ...]:
        """All kernels that may be preferred."""
        return (ONEDNN,) if self.activation else kernels(self.engine)

    def _kernel(self) -> tuple[str, bool]:
        """``_safe`` for the preferred kernel, or for the engine's own where this build of torch lacks that."""
        own = ONEDNN if self.activation else self.engine
        return self._safe(self.kernel if self.kernel in self._kernels() else own)

    def fxq_alternatives(self) -> tuple[str, ...]:
        """The kernels that compute this layer safely, the one in use first, and "float"."""
        in_use, narrow = self._kernel()
        safe = (name for name in self._kernels() if self._safe(name) == (name, narrow))
        first = FLOAT if self.kernel == FLOAT else in_use
        return tuple(dict.fromkeys((first, in_use, *safe, FLOAT)))

    def fxq_use(self, name: str) -> None:
        """Compute with another of the alternatives from now on."""
        self.kernel = name
        self.pack()

    @abc.abstractmethod
    def _check(self) -> None:
        """Refuse what a kernel can't take."""

    @abc.abstractmethod
    def _needs(self) -> tuple[Any, ...]:
        """What each call needs besides the packed weight: looking up one attribute of a module takes its time."""

    @abc.abstractmethod
    def _pack(self, weight: torch.Tensor) -> tuple[Any, Any]:
        """A quantized weight and the bias, packed for the engine that is active now, and the operator that takes it."""

    @abc.abstractmethod
    def _float(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The result in float, but for the activation."""

    def _in_float(self, x: torch.Tensor, weight: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        # int8 kernels give channels last whatever they take, and are slow on what is not
        result = self._float(x.dequantize().contiguous(memory_format=_layout(x)), weight)
        if self.activation:
            result = ACTIVATIONS[self.activation].function(result)
        return torch.quantize_per_tensor(result, scale, zero_point, torch.quint8)

    def pack(self) -> None:
        """Bring the packed weight up to date with the buffers.

        Raises:
            InputError: they can't be packed; or their dtypes were changed, and a kernel would read them as what they
                were.
        """
        self._check()
        with torch.no_grad():
            packed, run = self._widened() if self.kernel == FLOAT else self._narrowed()
        self._packed = packed, run, *self._needs()

    def _widened(self) -> tuple[Any, Any]:
        wide = self.weight_scale.reshape(-1, *[1] * (self.weight.dim() - 1))
        return (self.weight * wide).contiguous(memory_format=_layout(self.weight)), self._in_float

    def _narrowed(self) -> tuple[Any, Any]:
        weight, scale = self.weight, self.weight_scale
        kernel, narrow = self._kernel()
        if narrow:
            rows, scale = saturation_free(self._rows(), scale)
            weight = rows.reshape(weight.shape)
        with Active(kernel):
            if scale.dim():
                zero_points = torch.zeros(len(scale), dtype=torch.int64)
                return self._pack(torch._make_per_channel_quantized_tensor(weight, scale.double(), zero_points, 0))
            return self._pack(torch._make_per_tensor_quantized_tensor(weight, scale.item(), 0))

    def fxq_saturation(self) -> str:
        """Why no int16 sum of this layer saturates on the CPU that this process runs on."""
        in_use = (FLOAT, False) if self.kernel == FLOAT else self._kernel()
        return why_safe(self.engine, self._rows(), *in_use)

    def fxq_packed_bytes(self) -> int:
        """How much memory the packed weight takes, but for the kernel's own padding."""
        if self.kernel == FLOAT:
            return self.weight.numel() * 4
        # QNNPACK's keeps the weight that it was made from
        return self.weight.numel() * (1 if self.engine in X86 else 2)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_packed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch has no types for it
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

    @abc.abstractmethod
    def _about(self) -> str:
        """Its geometry, as ``repr`` shows it."""

    def extra_repr(self) -> str:
        return ", ".join(filter(None, (self._about(), self.activation)))
