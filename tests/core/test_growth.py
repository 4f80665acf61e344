"""Quantizing takes work in proportion to the size of the model: twice the layers, twice the calls of functions.

Work is counted, not timed: how often Python functions, and C functions from Python, are called.
"""

from __future__ import annotations

import cProfile
import pstats
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

# what is left of the work that does not grow makes the ratio less than 2
LINEAR = 2.05
# a function that is called this much more often than twice is called once per pair of layers; few calls say nothing
QUADRATIC, FEW = 2.6, 1000
SMALL, LARGE = 40, 80
Module = Callable[[int], nn.Module]


class Repeated(nn.Module):
    """Takes a value through the same kind of step many times; ``step`` does one."""

    def __init__(self, make: Callable[[], nn.Module], step: Callable[[Any, torch.Tensor], Any], count: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(make() for _ in range(count))
        self.step = step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in self.steps:
            x = self.step(module, x)
        return x


class Recurrent(nn.Module):
    """Calls the same layers many times."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding="same"), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.count):
            x = self.norm(self.conv(x))
        return x


class Branching(nn.Module):
    """Can't be traced, and holds modules that are never called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.unused = nn.Conv2d(4, 4, 1), nn.ModuleList([nn.ReLU()])

    def forward(self, x: torch.Tensor) -> Any:
        return x if x.sum() > 1e9 else self.conv(x)


def conv_norm() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())


def bottleneck() -> nn.Module:
    wide = nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6()
    return nn.Sequential(*wide, nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))


def hooked() -> nn.Module:
    block = nn.Sequential(nn.Conv2d(4, 4, 1))
    block.register_forward_hook(lambda *_: None)
    return block


def repeated(make: Callable[[], nn.Module], step: Callable[[Any, torch.Tensor], Any]) -> Module:
    return lambda count: Repeated(make, step, count)


NETWORKS: dict[str, Module] = {
    "a stack": repeated(conv_norm, lambda block, x: block(x)),
    "residuals": repeated(bottleneck, lambda block, x: x + block(x)),
    "padding by name": repeated(lambda: nn.Conv2d(4, 4, 3, padding="same"), lambda conv, x: F.relu(conv(x))),
    "functional": repeated(
        lambda: nn.Conv2d(4, 4, 1), lambda conv, x: torch.relu(F.conv2d(x, conv.weight, conv.bias)) + x
    ),
    "parameters that are read": repeated(conv_norm, lambda block, x: block(x) * torch.sin(block[1].weight.sum())),
    "islands of float": repeated(lambda: nn.Conv2d(4, 4, 1), lambda conv, x: torch.sin(conv(x)) * x.mean()),
    "one group of qparams": repeated(lambda: nn.MaxPool2d(3, 1, 1), lambda pool, x: pool(x)),
    "hooks": repeated(hooked, lambda block, x: block(x)),
    "untraceable blocks": repeated(Branching, lambda block, x: block(x)),
    "shared layers": Recurrent,
}


def work(model: nn.Module) -> Counter[Any]:
    """How often each function is called until a model is quantized and its plan and report are printed."""
    x, registry = torch.randn(1, 4, 4, 4), fxq.load_plugins()
    with cProfile.Profile() as profile:
        q = fxq.Quantizer(model, x, engine="reference", registry=registry)
        q.observe(x)
        str(q.plan)
        str(fxq.report(q.quantize()))
    return Counter({function: row[0] for function, row in pstats.Stats(profile).stats.items()})  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore::fxq_core.NothingQuantizedWarning", "ignore::fxq_core.AccuracyWarning")
@pytest.mark.parametrize("network", NETWORKS)
def test_work_is_linear_in_the_number_of_layers(network: str) -> None:
    torch.manual_seed(0)
    make = NETWORKS[network]
    work(make(2).eval())  # what is done once in a process
    small, large = work(make(SMALL).eval()), work(make(LARGE).eval())
    assert large.total() < LINEAR * small.total()
    steep = {f: (small[f], n) for f, n in large.items() if n > FEW and n > QUADRATIC * small[f]}
    assert not steep


def test_layers_that_are_called_together_many_times_are_folded_once() -> None:
    q = fxq.Quantizer(Recurrent(5).eval(), torch.randn(1, 4, 4, 4), engine="reference")
    assert sum(isinstance(module, nn.Conv2d) for module in q.prepared.modules()) == 1
