"""The core's own plugin: the float patterns, the observers and the reference engine.

A new op that fits a family below is one entry here, and one in the engine that computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fxq_core import reference, spellings as s
from fxq_core.hookspecs import hookimpl
from fxq_core.observers import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageObserver,
    PercentileObserver,
)
from fxq_core.rejections import REJECTIONS, reject_clamp
from fxq_core.types import Engine, Lowering, Match, ObserverSpec, Pattern

# the conversions at the borders between float and int8, lowered like any op; no graph spells them
BORDERS = (QUANTIZE, DEQUANTIZE, CONSTANT) = ("quantize", "dequantize", "constant")

# layers and sums, which a clamp-like op may end
CLAMPED: dict[str, Any] = {
    "conv1d": s.CONV1D,
    "conv2d": s.CONV2D,
    "conv3d": s.CONV3D,
    "conv_transpose1d": s.CONV_TRANSPOSE1D,
    "conv_transpose2d": s.CONV_TRANSPOSE2D,
    "conv_transpose3d": s.CONV_TRANSPOSE3D,
    "linear": s.LINEAR,
    "add": s.ADD,
    "sub": s.SUB,
    "mul": s.MUL,
    "batch_norm1d": s.BATCH_NORM1D,
    "batch_norm2d": s.BATCH_NORM2D,
    "batch_norm3d": s.BATCH_NORM3D,
}
# the output has a range of its own
OWN_RANGE: dict[str, Any] = {
    "matmul": s.MATMUL,
    "sigmoid": s.SIGMOID,
    "tanh": s.TANH,
    "hardsigmoid": s.HARDSIGMOID,
    "softmax": s.SOFTMAX,
    "hardswish": s.HARDSWISH,
    "silu": s.SILU,
    "gelu": s.GELU,
    "leaky_relu": s.LEAKY_RELU,
    "prelu": s.PRELU,
    "elu": s.ELU,
    "layer_norm": s.LAYER_NORM,
    "group_norm": s.GROUP_NORM,
    "instance_norm": s.INSTANCE_NORM,
    "interpolate": s.INTERPOLATE,
}
# the output keeps the qparams of the input
SHARED: dict[str, Any] = {
    "max_pool1d": s.MAX_POOL1D,
    "max_pool2d": s.MAX_POOL2D,
    "max_pool3d": s.MAX_POOL3D,
    "avg_pool1d": s.AVG_POOL1D,
    "avg_pool2d": s.AVG_POOL2D,
    "avg_pool3d": s.AVG_POOL3D,
    "adaptive_avg_pool1d": s.ADAPTIVE_AVG_POOL1D,
    "adaptive_avg_pool2d": s.ADAPTIVE_AVG_POOL2D,
    "adaptive_avg_pool3d": s.ADAPTIVE_AVG_POOL3D,
    "mean": s.MEAN,
    "amax": s.AMAX,
    "amin": s.AMIN,
    "clamp": s.CLAMP_LIKE,
    "cat": s.CAT,
    "stack": s.STACK,
    "chunk": s.CHUNK,
    "getitem": s.GETITEM,
    "narrow": s.NARROW,
    "flatten": s.FLATTEN,
    "unflatten": s.UNFLATTEN,
    "reshape": s.RESHAPE,
    "contiguous": s.CONTIGUOUS,
    "permute": s.PERMUTE,
    "transpose": s.TRANSPOSE,
    "squeeze": s.SQUEEZE,
    "unsqueeze": s.UNSQUEEZE,
    "expand": s.EXPAND,
    "repeat": s.REPEAT,
    "roll": s.ROLL,
    "flip": s.FLIP,
    "pad": s.PAD,
    "pad_copies": s.PAD_COPIES,
    "interpolate_nearest": s.INTERPOLATE,
    "pixel_shuffle": s.PIXEL_SHUFFLE,
    "pixel_unshuffle": s.PIXEL_UNSHUFFLE,
    "channel_shuffle": s.CHANNEL_SHUFFLE,
    "identity": s.IDENTITY,
}
# numbers that are looked up: nothing but the weight can be int8
WEIGHT_ONLY: dict[str, Any] = {"embedding": s.EMBEDDING, "embedding_bag": s.EMBEDDING_BAG}


def _patterns() -> Iterator[Pattern]:
    for name in BORDERS:
        yield Pattern(name, ())
    for name, ops in CLAMPED.items():
        yield Pattern(name, ops, reject=REJECTIONS[name])
        yield Pattern(f"{name}_clamp", (ops, s.CLAMP_LIKE), reject=_either(REJECTIONS[name], reject_clamp))
    for name, ops in OWN_RANGE.items():
        yield Pattern(name, ops, reject=REJECTIONS.get(name))
    for name, ops in SHARED.items():
        yield Pattern(name, ops, shares_qparams=True, reject=REJECTIONS.get(name))
    for name, ops in WEIGHT_ONLY.items():
        yield Pattern(name, ops, weight_only=True, reject=REJECTIONS.get(name))


def _either(*rejections: Callable[[Match], str | None]) -> Callable[[Match], str | None]:
    return lambda match: next(filter(None, (reject(match) for reject in rejections)), None)


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
