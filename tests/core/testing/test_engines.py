"""Engines of every kind pass the kit with no plugin installed: the reference engine, plain codes, whole graphs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.testing import EngineSuite

from support.distributions import load
from support.plain import PLAIN, PlainPlugin


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


class TestWholeGraphs(EngineSuite):
    """It makes a module of its own of the whole model, which no check looks into."""

    engine = "plain"

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load(plugins=(PlainPlugin(replace(PLAIN, finish=Whole)),))


class Coarse(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (super().forward(x) * 4).round() / 4


def test_an_engine_that_takes_whole_graphs_is_compared_from_end_to_end() -> None:
    registry = load(plugins=(PlainPlugin(replace(PLAIN, finish=Coarse)),))
    suite: Any = type("Suite", (EngineSuite,), {"engine": "plain", "registry": classmethod(lambda cls: registry)})()
    suite.test_result_is_well_formed("plain", "linear")
    suite.test_state_is_saved_and_loaded("plain", "linear")
    for check in ("test_is_within_one_code_of_the_reference", "test_is_close_to_float"):
        with pytest.raises(AssertionError) as caught:
            getattr(suite, check)("plain", "linear")
        assert re.fullmatch(
            r"sample 'linear' on engine 'plain': its SQNR to float is 1\d\.\d dB, below 20 "
            r"\(reference engine: [34]\d\.\d dB\)",
            str(caught.value),
        )
