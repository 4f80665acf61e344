"""One model on one engine, quantized once for all checks of it."""

from __future__ import annotations

import functools
from typing import Protocol

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.testing.agreement import Agreement
from fxq_core.testing.photo import photo_of_model, photo_of_process
from fxq_core.types import Engine

CALIBRATION_BATCHES, CALIBRATION_BATCH = 3, 16


class Subject(Protocol):
    """A model to test an engine with, and what it takes: a sample or a network."""

    def model(self, seed: int = 0) -> nn.Module: ...

    def batch(self, size: int, seed: int = 0) -> torch.Tensor: ...


class Case:
    """A subject on an engine; what several checks look at is made once, and none of them changes it.

    Attributes:
        title: names both, for messages.
        model: the float model.
    """

    def __init__(self, name: str, subject: Subject, engine: Engine, registry: fxq.Registry) -> None:
        self.title = f"{type(subject).__name__.lower()} {name!r} on engine {engine.name!r}"
        self.subject, self.engine, self.registry = subject, engine, registry
        self.model = subject.model()

    def calibration(self, seed: int = 0) -> list[torch.Tensor]:
        """The batches to calibrate with."""
        return [self.subject.batch(CALIBRATION_BATCH, seed + number) for number in range(CALIBRATION_BATCHES)]

    def quantizer(self, model: nn.Module, seed: int = 0, scale: float = 1.0) -> fxq.Quantizer:
        """A model, calibrated; ``seed`` and ``scale`` give other data."""
        batches = [scale * batch for batch in self.calibration(seed)]
        return fxq.Quantizer(model, batches[0], self.engine.name, registry=self.registry).calibrate(batches)

    @functools.cached_property
    def _made(self) -> tuple[Agreement, list[str]]:
        model, process = photo_of_model(self.model), photo_of_process()
        agreement = Agreement(self.quantizer(self.model))
        with torch.no_grad():
            agreement.lowered(self.subject.batch(CALIBRATION_BATCH))
        return agreement, model.changes(photo_of_model(self.model)) + process.changes(photo_of_process())

    @property
    def agreement(self) -> Agreement:
        return self._made[0]

    @property
    def lowered(self) -> nn.Module:
        return self._made[0].lowered

    @property
    def changes(self) -> list[str]:
        """What quantizing and running the model changed that is not the result's."""
        return self._made[1]

    def unseen(self, size: int) -> torch.Tensor:
        """A batch that was not calibrated with."""
        return self.subject.batch(size, seed=100 + size)


def run(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A model's output, without gradients."""
    with torch.no_grad():
        result: torch.Tensor = model(x.clone())
    return result
