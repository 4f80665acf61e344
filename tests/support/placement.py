"""Models to place, and an engine whose conversions can be counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

import fxq_core as fxq
from fxq_core.families import FIXED, IN_FLOAT
from fxq_core.reference import REFERENCE

X = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))


def to_int8(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


def to_float(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


def emit_to_int8(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    return ctx.call(to_int8, ctx.inputs[0])


def emit_to_float(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    return ctx.call(to_float, ctx.inputs[0])


def emit_in_float(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    """As native engines do it: every input to float, the op, and its result to int8."""
    floats = {value: ctx.call(to_float, node) for value, node in zip(match.inputs, ctx.inputs, strict=True)}
    return ctx.call(to_int8, ctx.copy(floats))


class Counted:
    """The reference engine with conversions that can be counted, for what it holds in float too."""

    @fxq.hookimpl
    def fxq_engines(self) -> Iterator[fxq.Engine]:
        yield replace(REFERENCE, name="counted")

    @fxq.hookimpl
    def fxq_lowerings(self) -> Iterator[fxq.Lowering]:
        yield fxq.Lowering(engine="counted", pattern="quantize", emit=emit_to_int8)
        yield fxq.Lowering(engine="counted", pattern="dequantize", emit=emit_to_float)
        for name in IN_FLOAT:
            yield fxq.Lowering(
                engine="counted", pattern=name, emit=emit_in_float, output=FIXED.get(name), in_float=True
            )


class Net(nn.Module):
    """``form`` of some layers and an input."""

    def __init__(self, form: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.conv, self.other, self.third = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm, self.linear = nn.BatchNorm2d(4), nn.Linear(6, 6)
        self.register_buffer("offset", torch.rand(4, 1, 1))

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


def quantizer(form: Callable[..., Any], registry: fxq.Registry, x: torch.Tensor = X) -> fxq.Quantizer:
    return fxq.Quantizer(Net(form).eval(), x, "counted", registry=registry)


def attention(m: Any, x: torch.Tensor) -> Any:
    q, k, v = m.conv(x), m.other(x), m.third(x)
    return m.linear((q @ k.transpose(-1, -2)).softmax(-1) @ v)
