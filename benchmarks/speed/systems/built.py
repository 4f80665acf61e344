"""What a system makes of a network, and what it says on the way."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from speed import memory


@dataclass(frozen=True, slots=True)
class Built:
    """A network that can be called.

    Attributes:
        bind: takes a batch and returns what runs the network on it, without arguments; what the system needs to do to
            an input that comes from elsewhere, or to a new batch size, is done here and not timed.
        disk: the size in bytes of a saved network.
    """

    bind: Callable[[torch.Tensor], Callable[[], Any]]
    disk: int


@dataclass(slots=True)
class Stages:
    """Seconds and bytes of the stages that a builder names."""

    found: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def quantizing(self) -> Iterator[None]:
        """All from the float module to what can be called."""
        start = time.perf_counter()
        yield
        self.found["quantize_s"] = time.perf_counter() - start

    @contextlib.contextmanager
    def calibrating(self) -> Iterator[None]:
        """The calibration batches passing through: of float, just its forward."""
        before = memory.settle()
        memory.forget_peak()
        start = time.perf_counter()
        yield
        self.found["calibrate_s"] = time.perf_counter() - start
        self.found["calibrate_peak_mb"] = (memory.peak() - before) / 1e6


def saved_size(module: nn.Module) -> int:
    """Bytes of the module's saved state dict."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    return file.tell()
