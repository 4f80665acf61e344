"""Patterns, a model to look for them in, and the matches that are found."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.capture import capture
from fxq_core.discovery import Plugin
from fxq_core.matching import Matches, find_matches
from fxq_core.reference import REFERENCE, emit_any
from fxq_core.registry import merge

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
EVERYTHING = fxq.Lowering(engine="reference", pattern="*", emit=emit_any)


def registry(*patterns: fxq.Pattern, lowerings: tuple[fxq.Lowering, ...] = (EVERYTHING,)) -> fxq.Registry:
    """A registry of these patterns alone, each from a distribution that is named like it."""
    provided = [
        Plugin(who, {"fxq_patterns": (dataclasses.replace(pattern, provider=who),)})
        for pattern in patterns
        for who in (fxq.Provider(f"fxq-{pattern.name}", "1.0", pattern.name),)
    ]
    return merge([*provided, Plugin(fxq.Provider("t", "", "t"), {"fxq_lowerings": lowerings})], strict=True)


def match(model: nn.Module | fx.GraphModule, *patterns: fxq.Pattern, **how: Any) -> Matches:
    part = model if isinstance(model, fx.GraphModule) else capture(model.eval(), ((X,), {})).parts[""]
    return find_matches("", part, registry(*patterns, **how), REFERENCE, lambda m: None)


def found(model: nn.Module, *patterns: fxq.Pattern, **how: Any) -> list[tuple[str, ...]]:
    """The chosen matches, each as its pattern's name and its nodes."""
    chosen = match(model, *patterns, **how).chosen.values()
    return sorted((c.match.pattern.name, *(node.name for node in c.match.nodes)) for c in chosen)


class Net(nn.Module):
    """Two convolutions whose results a function joins."""

    def __init__(self, function: Any = None) -> None:
        super().__init__()
        self.conv, self.other, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.ReLU()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


CONV, RELU = fxq.Pattern("conv", nn.Conv2d), fxq.Pattern("relu", {nn.ReLU, F.relu, torch.relu, "relu"})
CONV_RELU = fxq.Pattern("conv_relu", (nn.Conv2d, {nn.ReLU, F.relu, torch.relu, "relu"}))
CONV_ADD = fxq.Pattern("conv_add", (nn.Conv2d, {operator.add, torch.add, "add"}))
