"""A tiny network, quantized on an engine and compared with the reference engine."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import nn

from fxq_core.analysis.noise import sqnr
from fxq_core.errors import AccuracyWarning
from fxq_core.quantize import quantize
from fxq_core.reference import REFERENCE
from fxq_core.registry import Registry
from fxq_core.report import report

# one code in each op leaves 40 dB and more; a broken kernel, next to nothing
ENOUGH = 20.0


class Outcome(NamedTuple):
    """How an engine did.

    Args:
        sqnr: the signal to quantization noise ratio in dB, of what is expected to the difference from it.
        expected: what it is compared with.
        floats: the ops that it left in float.
    """

    sqnr: float
    expected: str
    floats: tuple[str, ...]

    @property
    def fault(self) -> bool:
        return not self.sqnr >= ENOUGH

    def __str__(self) -> str:
        same = f"the same as {self.expected}"
        text = same if self.sqnr == math.inf else f"SQNR {self.sqnr:.1f} dB to {self.expected}"
        return f"{text}; {', '.join(self.floats)} in float" if self.floats else text


def self_test(registry: Registry, engine: str) -> Outcome:
    """Quantize a convolution, a ReLU and a linear layer on an engine, and compare it with the reference engine.

    The reference engine itself is compared with the float network.

    Raises:
        FxqError: the engine can't do it; a plugin's own code may raise anything.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)  # which is what is measured here
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 10)).eval()
        batches = [torch.randn(8, 3, 6, 6) for _ in range(4)]
        lowered = quantize(net, batches, engine, registry=registry)
        own = engine == REFERENCE.name
        expected = net if own else quantize(net, batches, REFERENCE.name, registry=registry)
        ratio = sqnr(expected(batches[0]), lowered(batches[0]))
    rows = report(lowered).rows
    floats = tuple(row.op for row in rows if not row.quantized and row.op not in ("placeholder", "output"))
    return Outcome(ratio, "float" if own else "the reference engine", floats)
