"""Models with the scales that they are tested with: those of random data, or powers of two."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.lowering import calibration, lower
from fxq_core.testing import Sample
from fxq_core.types import QParams

from support.oracle.layers import LAYERS
from support.oracle.watched import Call, watched

BATCH = 5


# what all scales are a power of two times; None for those of the data
UNITS = (None, 1.0, 1.1)


def calls_of(
    sample: Sample, engine: str, registry: fxq.Registry, seed: int, unit: float | None, batch: int = BATCH
) -> Iterator[Call]:
    """Every op of a sample's model on an engine, with hostile codes.

    Args:
        seed: of the model, the data and the codes.
        unit: with powers of two between all scales, many results lie halfway between two codes; with 1.1, float32
            can't hold them.
        batch: how many rows the model is given.
    """
    model = sample.model(seed)
    if unit is not None:
        _round_weights(model, unit)
    x = sample.batch(BATCH, seed)
    quantizer = fxq.Quantizer(model, x, engine, registry=registry).calibrate([x, sample.batch(BATCH, seed + 1)])
    found = calibration(quantizer._prepared)
    if unit is not None:
        fixed = {part.path: part.groups.fixed for part in quantizer.plan.parts}
        found = {path: qparams and {**_rounded(qparams, unit), **fixed[path]} for path, qparams in found.items()}
    with torch.no_grad():
        lowered = lower(quantizer.plan, quantizer._prepared, found)
    (qparams,) = found.values()
    assert qparams is not None
    yield from watched(quantizer.plan, qparams, lowered, 2 * sample.batch(batch, seed + 2), seed)


def _rounded(qparams: Mapping[int, QParams], unit: float) -> dict[int, QParams]:
    """Of neighbours that are apart by a factor, and with odd zero points, which are added before or after a half."""
    found = {}
    for group, old in qparams.items():
        scale = _power(old.scale, unit) * 2 ** (group // 2 % 2)
        found[group] = replace(old, scale=scale, zero_point=min(old.zero_point | 1, old.qmax))
    return found


def _power(scale: float, unit: float) -> float:
    """The next larger scale, a float32 number."""
    return torch.tensor(unit * 2.0 ** math.ceil(math.log2(scale / unit)), dtype=torch.float32).item()


def _round_weights(model: nn.Module, unit: float) -> None:
    """Let the scales of all weights be powers of two, and biases multiples of small ones times the unit."""
    for layer in model.modules():
        if isinstance(layer, LAYERS):
            whole = "Transpose" in type(layer).__name__
            rows = layer.weight.data.reshape(1 if whole else len(layer.weight), -1)
            largest = rows.abs().amax(1, keepdim=True)
            codes = torch.round(rows / largest * 127)
            scale = 2.0 ** torch.ceil(torch.log2(largest / 127))
            layer.weight.data = (codes * scale).reshape(layer.weight.shape)
            if layer.bias is not None:
                layer.bias.data = torch.round(layer.bias.data * 2**12) / 2**12 * unit
