"""A model of some layers to lower, and the core with one lowering more."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import fxq_core as fxq

from support.quantizing import INSTALLED

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    def __init__(self, form: Callable[[Any, Any], Any], gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.a, self.b, self.same = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.register_buffer("offset", torch.randn(4, 1, 1))
        self.last = nn.Linear(6, 3)
        for conv in (self.a, self.b):
            conv.weight.data *= gain

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


def with_lowering(**changes: Any) -> fxq.Registry:
    """The core and a plugin with one lowering for the reference engine, which outranks its family's."""
    lowering = fxq.Lowering(**{"engine": "reference", "pattern": "conv2d_clamp", "priority": 1, **changes})
    plugin = types.SimpleNamespace(__name__="acme", fxq_lowerings=fxq.hookimpl(lambda: [lowering]))
    plugin.fxq_lowerings.__name__ = "fxq_lowerings"
    return fxq.load_plugins(plugins=[plugin], block=INSTALLED, strict=True)
