"""The full range of everything seen."""

from __future__ import annotations

from typing import Any

import torch

from fxq_core.observers.base import Observer
from fxq_core.types import QSpec


class MinMaxObserver(Observer):
    """Keeps the extremes, per tensor or, with ``spec.axis``, per channel; the order of data does not matter."""

    STATE = ("low", "high")

    def __init__(self, spec: QSpec) -> None:
        super().__init__(spec)
        self.low = self.high = torch.zeros(())

    def update(self, value: torch.Tensor, low: float, high: float) -> None:
        if self.spec.axis is None:
            extremes = torch.tensor(low), torch.tensor(high)
        else:
            channels = value.movedim(self.spec.axis, 0).reshape(value.shape[self.spec.axis], -1)
            extremes = torch.aminmax(channels, dim=1)
        self._widen(*extremes)

    def absorb(self, other: Any) -> None:
        self._widen(other.low, other.high)

    def _widen(self, low: torch.Tensor, high: torch.Tensor) -> None:
        seen = self.count > 0
        self.low = torch.minimum(self.low, low) if seen else low
        self.high = torch.maximum(self.high, high) if seen else high

    def range(self) -> tuple[Any, Any]:
        return self.low, self.high
