"""The core's own plugin: the float patterns, the observers and the reference engine.

A new op that fits a family below is one entry here, and one in the engine that computes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fxq_core import reference, spellings as s
from fxq_core.hookspecs import hookimpl
from fxq_core.observers import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageObserver,
    PercentileObserver,
)
from fxq_core.rejections import (
    reject_avg_pool,
    reject_binary,
    reject_cat,
    reject_clamp,
    reject_computed,
    reject_conv,
    reject_dropout,
    reject_linear,
    reject_mean,
)
from fxq_core.types import Engine, Lowering, ObserverSpec, Pattern

# the conversions at the borders between float and int8, lowered like any op; no graph spells them
BORDERS = (QUANTIZE, DEQUANTIZE, CONSTANT) = ("quantize", "dequantize", "constant")

CONV: dict[str, Any] = {"conv1d": s.CONV1D, "conv2d": s.CONV2D, "conv3d": s.CONV3D}
CONV_TRANSPOSE: dict[str, Any] = {
    "conv_transpose1d": s.CONV_TRANSPOSE1D,
    "conv_transpose2d": s.CONV_TRANSPOSE2D,
    "conv_transpose3d": s.CONV_TRANSPOSE3D,
}
BINARY: dict[str, Any] = {"add": s.ADD, "mul": s.MUL}
# the output has a range of its own
UNARY = {
    "sigmoid": s.SIGMOID,
    "tanh": s.TANH,
    "hardsigmoid": s.HARDSIGMOID,
    "hardswish": s.HARDSWISH,
    "silu": s.SILU,
    "leaky_relu": s.LEAKY_RELU,
    "elu": s.ELU,
}
# the output keeps the qparams of the input
SHARED = {
    "max_pool1d": s.MAX_POOL1D,
    "max_pool2d": s.MAX_POOL2D,
    "max_pool3d": s.MAX_POOL3D,
    "avg_pool1d": s.AVG_POOL1D,
    "avg_pool2d": s.AVG_POOL2D,
    "avg_pool3d": s.AVG_POOL3D,
    "adaptive_avg_pool1d": s.ADAPTIVE_AVG_POOL1D,
    "adaptive_avg_pool2d": s.ADAPTIVE_AVG_POOL2D,
    "adaptive_avg_pool3d": s.ADAPTIVE_AVG_POOL3D,
    "cat": s.CAT,
    "flatten": s.FLATTEN,
    "reshape": s.RESHAPE,
    "contiguous": s.CONTIGUOUS,
    "permute": s.PERMUTE,
    "transpose": s.TRANSPOSE,
    "squeeze": s.SQUEEZE,
    "unsqueeze": s.UNSQUEEZE,
}


REJECTIONS = {"avg_pool2d": reject_avg_pool, "avg_pool3d": reject_avg_pool, "cat": reject_cat}


def _patterns() -> Iterator[Pattern]:
    for name in BORDERS:
        yield Pattern(name, ())
    for name, ops in {**CONV, **CONV_TRANSPOSE}.items():
        yield from _with_clamp(name, ops, reject_conv)
    yield from _with_clamp("linear", s.LINEAR, reject_linear)
    for name, ops in BINARY.items():
        yield from _with_clamp(name, ops, reject_binary)
    for name, ops in UNARY.items():
        yield Pattern(name, ops, reject=reject_computed)
    for name, ops in SHARED.items():
        yield Pattern(name, ops, shares_qparams=True, reject=REJECTIONS.get(name))
    yield Pattern("clamp", s.CLAMP_LIKE, shares_qparams=True, reject=reject_clamp)
    yield Pattern("mean", s.MEAN, shares_qparams=True, reject=reject_mean)
    yield Pattern("identity", s.IDENTITY, shares_qparams=True, reject=reject_dropout)


def _with_clamp(name: str, ops: Any, reject: Any) -> Iterator[Pattern]:
    yield Pattern(name, ops, reject=reject)
    yield Pattern(f"{name}_clamp", (ops, s.CLAMP_LIKE), reject=lambda m: reject(m) or reject_clamp(m))


class CorePlugin:
    """The records of fxq-core itself, through the same hooks as everybody's."""

    @hookimpl
    def fxq_engines(self) -> Iterator[Engine]:
        yield reference.REFERENCE

    @hookimpl
    def fxq_patterns(self) -> Iterator[Pattern]:
        yield from _patterns()

    @hookimpl
    def fxq_observers(self) -> Iterator[ObserverSpec]:
        yield ObserverSpec("minmax", MinMaxObserver)
        yield ObserverSpec("moving-average", MovingAverageObserver)
        yield ObserverSpec("histogram", HistogramObserver)
        yield ObserverSpec("percentile", PercentileObserver)

    @hookimpl
    def fxq_lowerings(self) -> Iterator[Lowering]:
        yield from reference.lowerings()
