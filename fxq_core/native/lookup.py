"""An op on single numbers without a kernel of its own: its results for all codes, looked up two codes at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn

from fxq_core.native.codes import codes_of, from_codes

# numbers from which on looking up is faster than computing in float
WORTH = 2**16
ROWS = 4
NONE: Mapping[str, Any] = MappingProxyType({})


class Table(NamedTuple):
    """``pairs`` holds at ``a + 256 * b`` the results for the codes ``a`` and ``b``, for these qparams."""

    qparams: tuple[float, int, float, int]
    pairs: torch.Tensor


class Lookup(nn.Module):
    """An elementwise op; ``forward(x, scale, zero_point)`` takes and gives quantized tensors of one shape.

    The result is that of the float op between two conversions. The table is made when it is first needed and again
    when the qparams have changed; it is not part of the state.

    Args:
        call: the name of the one call that it serves, so that calls of one layer don't share a table.
        op: the float op, a module or a function; called as ``op(x, *args, **kwargs)``.
    """

    def __init__(
        self, call: str, op: Callable[..., torch.Tensor], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = NONE
    ) -> None:
        super().__init__()
        self.call, self.op, self.args, self.kwargs = call, op, args, dict(kwargs)
        self._table: Table | None = None

    def forward(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        size = x.numel()
        if size < WORTH or size % (2 * ROWS) or x.storage_offset() % 2 or not _dense(x):
            return self._computed(x, scale, zero_point)
        qparams = x.q_scale(), x.q_zero_point(), scale, zero_point
        table = self._table
        if table is None or table.qparams != qparams:
            table = self._table = Table(qparams, self._pairs(*qparams))
        pairs = codes_of(x).as_strided((ROWS, size // ROWS), (size // ROWS, 1)).view(torch.uint16)
        # several rows, so that threads share them
        found = table.pairs.expand(ROWS, -1).gather(1, pairs.long()).view(torch.uint8)
        return from_codes(found.as_strided(x.shape, x.stride()), scale, zero_point)

    def _computed(self, x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        floats = self.op(x.dequantize(), *self.args, **self.kwargs)
        return torch.quantize_per_tensor(floats, scale, zero_point, torch.quint8)

    def _pairs(self, x_scale: float, x_zero_point: int, scale: float, zero_point: int) -> torch.Tensor:
        codes = from_codes(torch.arange(256, dtype=torch.uint8), x_scale, x_zero_point)
        results = self._computed(codes, scale, zero_point).int_repr()
        pairs = torch.stack((results.expand(256, 256), results.unsqueeze(1).expand(256, 256)), 2)
        return pairs.view(torch.int16).reshape(1, -1)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_table": None}

    def extra_repr(self) -> str:
        return self.call


def _dense(x: torch.Tensor) -> bool:
    """Whether the numbers fill their memory, in the order of one of the common layouts."""
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
