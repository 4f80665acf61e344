"""A chain of three layers that int8 computes without any error, but for the last, which has an outlier weight."""

from __future__ import annotations

import torch
from torch import nn

import fxq_core as fxq

# all numbers are small multiples of powers of two, so that scales are exact
X = torch.tensor([[0.0, 255, 10, 7], [3, 128, 254, 1]]) / 64
EXACT = 127 / 64
# beside it, the other weights of the layer round to zero
ROUNDED = torch.tensor([[127.0, 0.25, 0, 0], [0, 127, 0.25, 0]]) / 64
MINMAX = fxq.Config(rules=(fxq.Rule("*", observer="minmax"),))


def layer(weight: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight = nn.Parameter(weight)
    return made


def chain() -> nn.Module:
    """Nodes ``_0``, ``_1`` and ``_2``; takes float32 of shape ``(batch, 4)`` and gives ``(batch, 2)``."""
    exact = [layer(torch.eye(4).roll(1, 0) * EXACT) for _ in range(2)]
    return nn.Sequential(*exact, layer(ROUNDED.clone())).eval()
