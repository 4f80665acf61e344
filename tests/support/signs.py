"""A made-up pattern for the plain engine, sound or broken in ways that plugins are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.testing import LoweringSuite, Sample

from support.distributions import load
from support.plain import PlainPlugin, dequantize, lowering, quantize

WHO = "sample 'softsign' on engine 'plain': "


class Sign(nn.Module):
    """``x / (1 + |x|)`` from codes to codes; subclasses get it wrong."""

    def forward(self, codes: torch.Tensor, of: float, at: int, scale: float, zero_point: int) -> torch.Tensor:
        return quantize(F.softsign(dequantize(codes, of, at)), scale, zero_point)


class TwoOff(Sign):
    def forward(self, codes: torch.Tensor, of: float, at: int, scale: float, zero_point: int) -> torch.Tensor:
        result = super().forward(codes, of, at, scale, zero_point).clone()
        result.view(-1)[5] = 100 if result.view(-1)[5] > 150 else 200
        return result


class Flat(Sign):
    def forward(self, *args: Any) -> torch.Tensor:
        return super().forward(*args).flatten(1, 2)


class Twice(Sign):
    """Takes one input for another where two threads meet."""

    def forward(self, codes: torch.Tensor, *args: Any) -> torch.Tensor:
        self.codes = codes
        time.sleep(0.002)
        return super().forward(self.codes, *args)


class Fixed(Sign):
    """Made for batches of one size."""

    def forward(self, codes: torch.Tensor, *args: Any) -> torch.Tensor:
        result = super().forward(codes, *args)
        return result if len(codes) in (8, 16, 48) else result.new_zeros(8, *result.shape[1:])


class NotEmpty(Sign):
    def forward(self, codes: torch.Tensor, *args: Any) -> torch.Tensor:
        codes[0].max()
        return super().forward(codes, *args)


class Learning(Sign):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


class Wide(Sign):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(3, dtype=torch.float64))


def emitter(kind: type[Sign]) -> Any:
    """Emits a call of a module of this kind."""

    def emit(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
        return ctx.module(kind(), ctx.inputs[0], *ctx.input_qparams[0], *ctx.output)

    return emit


class SignPlugin:
    """The pattern, and a lowering of it for the plain engine."""

    def __init__(self, emit: Any, reject: Any = None, **more: Any) -> None:
        self.emit, self.reject, self.more = emit, reject, more

    @fxq.hookimpl
    def fxq_patterns(self) -> Iterator[fxq.Pattern]:
        yield fxq.Pattern("sign", {nn.Softsign})

    @fxq.hookimpl
    def fxq_lowerings(self) -> Iterator[fxq.Lowering]:
        yield lowering("sign", self.emit, reject=self.reject, **self.more)


def suite_of(emit: Any, reject: Any = None, attributes: Any = None, **more: Any) -> Any:
    """A suite, not collected by pytest, for the pattern as it is lowered by ``emit``."""
    registry = load(plugins=(PlainPlugin(), SignPlugin(emit, reject, **more)))
    given = {
        "provider": "SignPlugin",
        "samples": {"softsign": Sample("sign", nn.Softsign())},
        "registry": classmethod(lambda cls: registry),
        **(attributes or {}),
    }
    return type("Suite", (LoweringSuite,), given)()


def says_no(match: fxq.Match) -> str | None:
    return "a sign is no number"


def failure(check: str, suite: Any, sample: str = "softsign") -> str:
    """What a check says, after the name of the sample and the engine."""
    with pytest.raises(AssertionError) as caught:
        getattr(suite, check)("plain", sample)
    message = str(caught.value)
    assert message.startswith(WHO)
    return message.removeprefix(WHO)
