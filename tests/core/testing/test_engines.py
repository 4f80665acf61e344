"""Engines of every kind pass the kit with no plugin installed: the reference engine, plain codes, whole graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.reference import REFERENCE
from fxq_core.testing import EngineSuite

from support.distributions import load
from support.plain import PlainPlugin


class TestReference(EngineSuite):
    engine = "reference"
    complete = True

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load()


class TestPlainCodes(EngineSuite):
    """Its quantized form is a plain tensor of uint8, and most of the patterns it has no lowering for."""

    engine = "plain"

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load(plugins=(PlainPlugin(),))


class Whole(nn.Module):
    """What an engine makes of a whole lowered module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.eval()
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.module(x)
        return result


class WholePlugin:
    @fxq.hookimpl
    def fxq_engines(self) -> Any:
        yield replace(REFERENCE, name="whole", finish=Whole)


class TestWholeGraphs(EngineSuite):
    engine = "whole"

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load(plugins=(WholePlugin(),))
