"""What the tests of the analysis share: the chain quantized, compared and ranked; and a model in two parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import fxq_core as fxq

from support.exact import MINMAX, X, chain


def within(core: fxq.Registry, metric: Any, max_drop: Any = 0.0, batches: Any = (X,), model: Any = None) -> nn.Module:
    model = chain() if model is None else model
    return fxq.quantize(model, batches, "reference", MINMAX, core, max_drop=max_drop, metric=metric)


def exactness(model: nn.Module) -> float:
    """Minus the largest error on X, which is 0 in float."""
    with torch.no_grad():
        return -float((model(X) - chain()(X)).abs().max())


def floats_of(model: nn.Module) -> frozenset[str]:
    """Which layers of the chain are in float."""
    return frozenset(row.node for row in fxq.report(model).rows if row.op == "Linear" and not row.quantized)


def path(qmodel: nn.Module) -> list[tuple[tuple[str, ...], float, bool]]:
    budget = fxq.report(qmodel).budget
    assert budget is not None
    return [(step.floats, step.metric, step.within) for step in budget.steps]


def quantized(model: nn.Module, registry: fxq.Registry, *batches: Any, engine: str = "reference") -> nn.Module:
    return fxq.quantize(model, batches, engine, MINMAX, registry)


def compared(model: nn.Module, registry: fxq.Registry, batch: Any = X, **settings: Any) -> fxq.Comparison:
    return fxq.compare(model, quantized(model, registry, batch), batch, registry=registry, **settings)


class Branch(nn.Module):
    """Can't be traced: three parts, of which one is called twice and one is never reached."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.first, self.last, self.never = nn.Embedding(3, 4), *(chain()[i] for i in (0, 2, 1))
        self.table.weight = nn.Parameter(torch.eye(4)[:3] * 127)

    def forward(self, x: torch.Tensor, *, i: torch.Tensor) -> torch.Tensor:
        y = self.first(self.first(x + self.table(i)))
        return self.last(y) if y.sum() > 0 else self.never(y)


BATCH = {"x": torch.tensor([[0.0, 2, 3, 4], [5, 6, 7, 255]]), "i": torch.tensor([0, 0])}


def calibrated(model: nn.Module, core: fxq.Registry, *batches: Any) -> fxq.Quantizer:
    return fxq.Quantizer(model, batches[0], "reference", MINMAX, core).calibrate(batches)


def ranked(model: nn.Module, core: fxq.Registry, *batches: Any, metric: Any = None) -> fxq.Sensitivity:
    return fxq.sensitivity(calibrated(model, core, *batches), batches, metric)


def int8_of(model: nn.Module) -> set[str]:
    return {row.node for row in fxq.report(model).rows if row.quantized}
