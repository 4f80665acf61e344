"""A small network with nested paths, to select things in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq

BATCH = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(inputs, 4, 3, padding=1), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.act(self.conv(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(3), Block(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(x).mean((2, 3)))


def make_net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().eval()


def plan_with(
    registry: fxq.Registry, *rules: fxq.Rule, skip: Any = (), net: Any = None, batch: Any = BATCH
) -> fxq.Plan:
    config = fxq.Config(skip=skip, rules=rules)
    return fxq.Quantizer(make_net() if net is None else net, batch, "reference", config, registry).plan


def refusal(registry: fxq.Registry, *rules: fxq.Rule, **how: Any) -> str:
    with pytest.raises(fxq.ConfigError) as caught:
        plan_with(registry, *rules, **how)
    return str(caught.value)
