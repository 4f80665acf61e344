"""Weights quantized as a config says, on every engine: at most one code from the reference engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.testing.agreement import Agreement


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8)
        self.up, self.head = nn.ConvTranspose2d(8, 4, 2), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(self.depthwise(self.conv(x).relu())).mean((2, 3)))


def test_weights_with_one_scale(engine: str, registry: fxq.Registry) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, x = Net().eval(), torch.randn(4, 3, 8, 8)
    rules = (fxq.Rule("*", weight="per-tensor"), fxq.Rule("head", weight_observer="histogram"))
    agreement = Agreement(fxq.Quantizer(net, x, engine, fxq.Config(rules=rules), registry).calibrate([x]))
    for name in ("conv", "depthwise", "up", "head"):
        layer: Any = agreement.lowered.get_submodule(name)
        assert layer.weight_scale.dim() == 0
    differences = agreement.differences(x)
    assert len(differences) >= 4
    assert max(found.codes for found in differences.values()) <= 1
