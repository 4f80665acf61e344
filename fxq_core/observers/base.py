"""The base of all observers: refuses what has no range, counts what it saw."""

from __future__ import annotations

import abc
from typing import Any

import torch

from fxq_core.errors import CalibrationError
from fxq_core.observers.qparams import affine_qparams
from fxq_core.types import QParams, QSpec


class NonFiniteError(CalibrationError):
    """A tensor held NaN or Inf; the message says how many of each."""


class Observer(abc.ABC):
    """Watches values as they stream by and says which range of them to represent.

    A subclass keeps its state in the attributes that ``STATE`` names, and implements ``update``, ``absorb``
    and ``range``. State is replaced, never written into, so a state dict is a snapshot. ``count``
    is the number of tensors seen; empty tensors are not counted.
    """

    STATE: tuple[str, ...] = ()

    def __init__(self, spec: QSpec) -> None:
        self.spec = spec
        self.count = 0

    def observe(self, value: torch.Tensor) -> None:
        """Take in one float tensor of any shape.

        Raises:
            NonFiniteError: it holds NaN or Inf; the state stays as it was.
        """
        if value.numel() == 0:
            return
        value = value.detach().to("cpu", torch.float32)
        low, high = torch.aminmax(value)
        if not (torch.isfinite(low) and torch.isfinite(high)):
            nans, infs = int(value.isnan().sum()), int(value.isinf().sum())
            raise NonFiniteError(f"{nans} NaN and {infs} Inf among {value.numel()} values")
        self.update(value, low.item(), high.item())
        self.count += 1

    def merge(self, other: Observer) -> None:
        """Become what one observer would be that saw this one's stream and then ``other``'s."""
        if type(other) is not type(self) or other.spec != self.spec:
            raise ValueError(f"{type(self).__name__} can't merge a {type(other).__name__} or another QSpec")
        if other.count:
            if self.count:
                self.absorb(other)
            else:
                self._restore(other.state_dict())
                return
        self.count += other.count

    def qparams(self) -> QParams:
        """The qparams of what was seen.

        Raises:
            CalibrationError: nothing was.
        """
        if not self.count:
            raise CalibrationError("no observed tensor held a value")
        low, high = (torch.as_tensor(end, dtype=torch.float64) for end in self.range())
        return affine_qparams(low, high, self.spec)

    def advice(self) -> str:
        """What the report should say of the values that were seen; nothing by default."""
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, safe for ``torch.load(weights_only=True)``."""
        return {name: getattr(self, name) for name in ("count", *self.STATE)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become the observer that ``state`` was taken from.

        Raises:
            ValueError: the state belongs to another kind of observer.
        """
        if set(state) != {"count", *self.STATE}:
            raise ValueError(f"the state is not one of a {type(self).__name__}")
        self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    @abc.abstractmethod
    def update(self, value: torch.Tensor, low: float, high: float) -> None:
        """Take in a finite float32 CPU tensor with at least one element and these extremes."""

    @abc.abstractmethod
    def absorb(self, other: Any) -> None:
        """Add the state of an observer of the same type, which saw a later stream; both have seen data."""

    @abc.abstractmethod
    def range(self) -> tuple[Any, Any]:
        """The lowest and highest value to represent: numbers, or tensors of shape ``(channels,)``."""
