"""Systems for workers under test."""

from __future__ import annotations

import os
import signal
import time

import torch
from torch import nn

from speed.systems.built import Built, Stages


def build(model: nn.Module, batches: list[torch.Tensor], stages: Stages, *, fails_at: int = 0) -> Built:
    """Runs the network as it is; at the batch size ``fails_at`` it raises."""
    print("this is no answer")
    with stages.quantizing(), stages.calibrating():
        model(batches[0])

    def bind(x: torch.Tensor):
        if len(x) == fails_at:
            raise ValueError("can't open /some/where/file.bin\nand more")
        return lambda: model(x)

    return Built(bind, disk=2_000_000)


def raising(model: nn.Module, batches: list[torch.Tensor], stages: Stages) -> Built:
    raise NotImplementedError("no kernel")


def dying(model: nn.Module, batches: list[torch.Tensor], stages: Stages) -> Built:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("not reached")


def leaving(model: nn.Module, batches: list[torch.Tensor], stages: Stages) -> Built:
    os._exit(3)


def sleeping(model: nn.Module, batches: list[torch.Tensor], stages: Stages) -> Built:
    time.sleep(60)
    raise AssertionError("not reached")
