"""What the tests of failing plugins share: a network, and plugins that are made on the spot."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import fxq_core as fxq

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(4, 4, 3), nn.CELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.conv(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.block, self.act, self.last = nn.Conv2d(3, 4, 1), Block(), nn.CELU(), nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.block(self.first(x))))


def _yielding(records: list[Any]) -> Callable[[], list[Any]]:
    return lambda: records


def plugin(**hooks: list[Any]) -> Any:
    made = types.SimpleNamespace(__name__="acme")
    for name, records in hooks.items():
        setattr(made, name, fxq.hookimpl(_yielding(records), specname=name))
    return made
