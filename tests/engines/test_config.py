"""Weights quantized as a config says, on every engine: at most one code from the reference engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import fxq_core as fxq

from support.agreement import op_errors


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
    lowered: list[Any] = [
        fxq.quantize(net, [x], name, fxq.Config(rules=rules), registry) for name in (engine, "reference")
    ]
    for name in ("conv", "depthwise", "up", "head"):
        assert lowered[0].get_submodule(name).weight_scale.dim() == 0
    errors = op_errors(lowered[0], lowered[1], x)
    assert len(errors) >= 4
    assert max(errors.values()) <= 1
