"""torch.ao's FX graph mode, made to observe and to round as fxq does, so that what differs is how ops are lowered.

Both take ranges as the extremes of the same batches, activations to quint8 in [0, 255], weights to qint8 in
[-127, 127], symmetric and per output channel (per tensor for transposed convolutions, whose kernels take no other).
What is left of a difference between the two formulas:

- torch.ao divides a range by 255 in float32, fxq in float64, rounded once: a scale may differ in its last bit, and
  then a zero point whose quotient is near a tie by one.
- torch.ao's scales are at least 2**-23, fxq's 2**-60: neither bound is met by a network that is alive.
- fxq raises a weight scale at which a bias would not fit int32; torch.ao does not.
"""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn
from torch.ao.nn import intrinsic, quantized as nnq
from torch.ao.quantization import (
    HistogramObserver,
    MinMaxObserver,
    PerChannelMinMaxObserver,
    QConfig,
    QConfigMapping,
    get_default_qconfig_mapping,
)
from torch.ao.quantization.backend_config import get_native_backend_config
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.utils._pytree import tree_leaves

import fxq_core as fxq
from fxq_core.native.active import Active

from gallery.statistics import call

ACTIVATION = MinMaxObserver.with_args(dtype=torch.quint8, quant_min=0, quant_max=255)
CODES = {"dtype": torch.qint8, "quant_min": -127, "quant_max": 127}
PER_CHANNEL = PerChannelMinMaxObserver.with_args(qscheme=torch.per_channel_symmetric, **CODES)
PER_TENSOR = MinMaxObserver.with_args(qscheme=torch.per_tensor_symmetric, **CODES)
TRANSPOSED = (
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
)  # fmt: skip
LAYERS = (
    nnq.Conv1d, nnq.Conv2d, nnq.Conv3d, nnq.ConvTranspose1d, nnq.ConvTranspose2d, nnq.ConvTranspose3d, nnq.Linear,
    intrinsic.quantized.ConvReLU1d, intrinsic.quantized.ConvReLU2d, intrinsic.quantized.ConvReLU3d,
    intrinsic.quantized.LinearReLU,
)  # fmt: skip
# what torch.ao takes if it is given none, and then makes anew each time
BACKEND = get_native_backend_config()
Batch = Any
# Where both compute the same, the errors are equal. Where one rounds to other codes, which gives another draw of an
# error of the same size, their ratio scatters by about 5 % from network to network, so its mean over a few by 2 to 3 %;
# twice that is allowed: a quarter of a decibel.
NOISE = 1.06


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """torch.ao warns that it and the quantized dtypes are deprecated, and of its own defaults: not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def qconfig_mapping(engine: str) -> QConfigMapping:
    """torch.ao's own mapping for an engine, with fxq's observers in place of those that are not prescribed by an op."""
    mapping = get_default_qconfig_mapping(engine).set_global(QConfig(ACTIVATION, PER_CHANNEL))
    for op, theirs in list(mapping.object_type_qconfigs.items()):
        if isinstance(theirs.activation(), HistogramObserver):
            mapping.set_object_type(op, QConfig(ACTIVATION, PER_TENSOR if op in TRANSPOSED else theirs.weight))
    return mapping


class ByTorch(nn.Module):
    """A model that torch.ao converted, which runs in its engine."""

    def __init__(self, converted: fx.GraphModule, engine: str) -> None:
        super().__init__()
        self.converted, self.engine = converted, engine

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with Active(self.engine), silenced():
            return self.converted(*args, **kwargs)

    def layers(self) -> int:
        """How many calls of a convolution or a linear layer are int8."""
        modules = dict(self.converted.named_modules(remove_duplicate=False))
        return sum(self._is_layer(node, modules) for node in self.converted.graph.nodes)

    @staticmethod
    def _is_layer(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
        if node.op == "call_module":
            return isinstance(modules[str(node.target)], LAYERS)
        name = str(node.target)
        return node.op == "call_function" and name.startswith(("quantized.conv", "quantized.linear"))


def by_torch(model: nn.Module, batches: Iterable[Batch], engine: str) -> ByTorch:
    """What torch.ao makes of a float model in eval mode; raises whatever torch.ao does where it can't."""
    batches = list(batches)
    first = tuple(batches[0].values()) if isinstance(batches[0], dict) else batches[0]
    with Active(engine), silenced(), torch.no_grad():
        prepared = prepare_fx(copy.deepcopy(model), qconfig_mapping(engine), first, backend_config=BACKEND)
        for batch in batches:
            call(prepared, batch)
        return ByTorch(convert_fx(prepared, backend_config=BACKEND), engine)


def minmax(registry: fxq.Registry, engine: str) -> fxq.Registry:
    """The registry with an engine whose activations are observed as here: a rule would not reach a model's inputs."""
    found = registry.engines[engine]
    changed = replace(found, activation=replace(found.activation, observer="minmax"))
    return replace(registry, engines={**registry.engines, engine: changed})


def by_fxq(model: nn.Module, batches: Iterable[Batch], engine: str, registry: fxq.Registry) -> nn.Module:
    """What fxq makes of it; embeddings stay float, as torch.ao leaves them unless it is told otherwise."""
    skip = tuple(kind for kind in (nn.Embedding, nn.EmbeddingBag) if any(type(m) is kind for m in model.modules()))
    return fxq.quantize(model, list(batches), engine, fxq.Config(skip=skip), registry=minmax(registry, engine))


def layers(qmodel: nn.Module) -> int:
    """How many calls of a convolution or a linear layer are int8 in what fxq made."""
    rows = (row for row in fxq.report(qmodel).rows if row.quantized and not row.reason)
    return sum(row.pattern.startswith(("conv", "linear")) for row in rows)


def squared_errors(float_model: nn.Module, batches: Iterable[Batch], *models: nn.Module) -> tuple[float, ...]:
    """The sum of squared differences from the float model of each of ``models``, over all float outputs."""
    sums = [0.0] * len(models)
    with torch.no_grad():
        for batch in batches:
            wanted = _floats(call(float_model, batch))
            for i, model in enumerate(models):
                sums[i] += float((_floats(call(model, batch)) - wanted).square().sum())
    return tuple(sums)


def _floats(output: Any) -> torch.Tensor:
    return torch.cat([leaf.flatten() for leaf in tree_leaves(output) if leaf.is_floating_point()])


def mean_ratio(pairs: Iterable[tuple[float, float]]) -> float:
    """The geometric mean of ours over theirs."""
    logs = [math.log(ours / theirs) for ours, theirs in pairs]
    return math.exp(sum(logs) / len(logs))
