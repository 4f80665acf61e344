"""Layers stay in int8; other ops where that adds no conversions, and what stays float says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

from support.placement import X, attention, quantizer


def kept(form: Callable[..., Any], registry: fxq.Registry, x: torch.Tensor = X) -> list[str]:
    """The patterns in int8, in graph order."""
    (part,) = quantizer(form, registry, x).plan.parts
    return [candidate.match.pattern.name for candidate in part.chosen.values()]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # layers are kept whatever their conversions cost
        (lambda m, x: torch.exp(m.conv(torch.exp(x))), ["conv2d"]),
        # a fan-out costs one conversion
        (lambda m, x: m.conv(x) + torch.tanh(x) * m.third(x), ["conv2d", "tanh", "conv2d", "mul", "add"]),
        # as many conversions on either side of the pool: int8
        (lambda m, x: m.conv(F.max_pool2d(x, 1)), ["max_pool2d", "conv2d"]),
        (lambda m, x: F.max_pool2d(m.conv(x), 1), ["conv2d", "max_pool2d"]),
        # fewer numbers behind the pool, and so before it
        (lambda m, x: m.conv(F.max_pool2d(x, 2)), ["conv2d"]),
        (lambda m, x: F.max_pool2d(m.conv(x), 2), ["conv2d", "max_pool2d"]),
        (lambda m, x: m.conv(x.repeat(1, 1, 2, 2)), ["repeat", "conv2d"]),
        # floats in and out: float
        (lambda m, x: F.max_pool2d(torch.exp(x), 2).sin(), []),
        (lambda m, x: torch.exp(x) + x, []),
        # an op without a kernel between two layers stays in int8, but nowhere else
        (lambda m, x: m.other(F.silu(m.conv(x))), ["conv2d", "silu", "conv2d"]),
        (lambda m, x: F.silu(m.conv(x)), ["conv2d"]),
        # attention is an island of floats between the projections, but for a tie
        (attention, ["conv2d"] * 3 + ["transpose", "linear"]),
        # a constant is kept in the form that is used
        (lambda m, x: m.conv(x) * m.offset, ["conv2d", "mul"]),
        (lambda m, x: torch.exp(x) * m.offset, []),
        # the pieces of a tuple stand on its side
        (lambda m, x: torch.cat(m.conv(x).chunk(2, 1)[::-1], 1), ["conv2d"]),
        (lambda m, x: [torch.exp(y) for y in m.conv(x).chunk(2, 1)], ["conv2d"]),
        (lambda m, x: [m.other(y.repeat(1, 2, 1, 1)) for y in m.conv(x).chunk(2, 1)],
         ["conv2d", "chunk", "getitem", "getitem", "repeat", "conv2d", "repeat", "conv2d"]),
        # who asks for a shape takes no value
        (lambda m, x: (m.other(F.relu6(y := torch.sigmoid(m.conv(x)))), y.size(0), y.shape[1], y.dim(), y.ndim),
         ["conv2d", "sigmoid", "clamp", "conv2d"]),
    ],
)  # fmt: skip
def test_what_is_kept(form: Any, expected: list[str], counted: fxq.Registry) -> None:
    assert sorted(kept(form, counted)) == sorted(expected)


def test_a_look_up_in_a_table_is_neither_in_int8_nor_in_the_way(core: fxq.Registry) -> None:
    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.layer = nn.Embedding(5, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> Any:
            y = self.table(x)
            return self.layer(F.relu(y)), torch.exp(F.hardswish(y))

    (part,) = fxq.Quantizer(Look().eval(), torch.arange(5), "reference", registry=core).plan.parts
    # what is looked up is a float: nothing becomes int8 around it but the layer
    assert [c.match.pattern.name for c in part.chosen.values()] == ["embedding", "clamp", "linear"]


def test_what_is_not_worth_it_says_so(counted: fxq.Registry) -> None:
    plan = quantizer(lambda m, x: m.conv(x).tanh().sin() + x, counted).plan
    verdicts = {v.node: v for v in plan.verdicts}
    assert verdicts["tanh"].quantized
    assert (verdicts["add"].quantized, verdicts["add"].reason) == (False, "int8 would only add conversions here")
