"""Models whose steps take the time they are told, by a clock of their own."""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.reference import fake_quantize
from fxq_core.tuning.tune import tune_with

from support.quantizing import INSTALLED

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
US = 1e-6


class Clock:
    """Goes on only when a step is computed; ``debt`` is what the last step leaves the next one to pay."""

    def __init__(self) -> None:
        self.now = self.debt = 0.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now

    def __deepcopy__(self, memo: object) -> Clock:
        return self


class Ways(nn.Module):
    """A linear layer that takes as long as it is told, in each of its ways."""

    def __init__(self, layer: nn.Linear, times: dict[str, float], clock: Clock, debts: dict[str, float]) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(layer.weight.detach()), nn.Parameter(layer.bias.detach())
        self.times, self.clock, self.debts, self.way = times, clock, debts, next(iter(times))

    def fxq_alternatives(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.way, *self.times)))

    def fxq_use(self, name: str) -> None:
        self.way = name

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} to {self.weight.shape[0]}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.clock.now += (self.times[self.way] + self.clock.debt) * US
        self.clock.debt = self.debts.get(self.way, 0.0)
        return F.linear(x, self.weight, self.bias)


def tunable(
    model: nn.Module, clock: Clock, times: dict[str, dict[str, float]], debts: dict[str, float] | None = None
) -> Any:
    """Quantize with ``Ways`` for the linear layers, their times by path."""

    def emit(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        layer: Any = match.modules[0]
        module = Ways(layer, times[str(match.nodes[0].target)], clock, debts or {})
        return ctx.call(fake_quantize, ctx.module(module, ctx.inputs[0]), *ctx.output, 0, 255)

    lowering = fxq.Lowering(engine="reference", pattern="linear", emit=emit, priority=1)
    plugin = types.SimpleNamespace(__name__="acme", fxq_lowerings=fxq.hookimpl(lambda: [lowering]))
    plugin.fxq_lowerings.__name__ = "fxq_lowerings"
    registry = fxq.load_plugins(plugins=[plugin], block=INSTALLED, strict=True)
    return fxq.quantize(model.eval(), [X], "reference", registry=registry)


def chain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 7))


TIMES = {
    "0": {"slow": 30.0, "fast": 10.0},
    "1": {"slow": 40.0, "fast": 50.0, "other": 20.0},
    "2": {"slow": 100.0, "fast": 98.0},
}


def tuned(qmodel: nn.Module, clock: Clock, cache: fxq.TuneCache | None = None) -> fxq.TuneReport:
    return tune_with(qmodel, ((X,), {}), fxq.TuneCache() if cache is None else cache, clock)


def choices(report: fxq.TuneReport) -> dict[str, str]:
    return {step.module: step.choice for step in report.steps}


class Twice(nn.Module):
    """One layer that is called twice, under a root that can't be traced, with an argument given by name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x: torch.Tensor, *, times: int = 1) -> torch.Tensor:
        for _ in range(times if x.sum() < 1e9 else 0):
            x = self.inner(x)
        return x
