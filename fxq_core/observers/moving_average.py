"""The average range of the latest tensors: forgets outliers, and early data."""

from __future__ import annotations

from typing import Any

import torch

from fxq_core.observers.base import Observer
from fxq_core.types import QSpec

RATE = 0.01


class MovingAverageObserver(Observer):
    """An exponential moving average of each tensor's extremes; later tensors weigh more.

    The average starts at zero and is divided by the weight it has collected, ``1 - (1 - rate)**count``
    (Kingma and Ba 2015, section 3), which makes two streams mergeable: the first decays by the second's length.
    """

    STATE = ("low", "high")

    def __init__(self, spec: QSpec) -> None:
        if spec.axis is not None:
            raise ValueError("a moving average has one range for the whole tensor; use 'minmax' for channels")
        super().__init__(spec)
        self.low = self.high = 0.0

    def update(self, value: torch.Tensor, low: float, high: float) -> None:
        self.low = self.low * (1 - RATE) + low * RATE
        self.high = self.high * (1 - RATE) + high * RATE

    def absorb(self, other: Any) -> None:
        decay = (1 - RATE) ** other.count
        self.low = self.low * decay + other.low
        self.high = self.high * decay + other.high

    def range(self) -> tuple[float, float]:
        weight = 1 - (1 - RATE) ** self.count
        return self.low / weight, self.high / weight
