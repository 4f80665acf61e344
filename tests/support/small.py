"""A small model with the ops whose engine is chosen when they are packed, and those whose engine is torch's global."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import fxq_core as fxq

from support.processes import WITHOUT_NUMPY


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.depthwise(x)
        return self.head(self.pool(x).flatten(1))


def batches(count: int = 4, size: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 3, 8, 8, generator=generator) for _ in range(count)]


def small(engine: str, registry: fxq.Registry | None = None) -> nn.Module:
    """The model, calibrated with 32 samples, so that nothing warns."""
    return fxq.quantize(Small().eval(), batches(), engine, registry=registry)


def digest(qmodel: nn.Module) -> str:
    """What a model computes and says of itself, to the last bit."""
    text = [repr(qmodel(x).tolist()) for x in batches(6)]
    text += [f"{name} {tensor.dtype} {tensor.tolist()}" for name, tensor in qmodel.state_dict().items()]
    return hashlib.sha256("\n".join((*text, str(fxq.report(qmodel)))).encode()).hexdigest()


def in_process(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run some Python that can import what tests can."""
    paths = [str(Path(__file__).parents[1]), *sys.path]
    return subprocess.run(
        [sys.executable, "-W", WITHOUT_NUMPY, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
    )
