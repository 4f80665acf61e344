"""What becomes of a network of the gallery on an engine: its layers, its nodes, and how close it is to float."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.noise import sqnr
from fxq_core.plan import STRUCTURE

from gallery import GALLERY, trained
from gallery.statistics import call

LAYERS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear,
)  # fmt: skip
NAMES = frozenset(layer.__name__ for layer in LAYERS) | {"conv1d", "conv2d", "conv3d", "linear"}
# how the reasons begin that say that a node gives no float tensor
NO_FLOATS = ("its result is not", "it checks")
BATCHES, BATCH = 8, 8
TEST_SAMPLES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One network on one engine.

    ``int8`` counts its convolutions and linear layers in int8, ``floats`` gives the reason for each that is float;
    ``ops`` and ``int8_ops`` count what computes float tensors. ``sqnr`` is in dB, over all float outputs.
    """

    model: nn.Module
    quantizer: fxq.Quantizer
    qmodel: nn.Module
    int8: int
    floats: dict[str, str]
    ops: int
    int8_ops: int
    sqnr: float


def measure(name: str, engine: str, registry: fxq.Registry) -> Coverage:
    """Quantize a network of the gallery and compare it with float on inputs it was not calibrated with."""
    entry = GALLERY[name]
    model = trained(entry)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        batches = [entry.inputs(BATCH) for _ in range(BATCHES)]
        quantizer = fxq.Quantizer(model, batches[0], engine, registry=registry).calibrate(batches)
        qmodel = quantizer.quantize()
        sample = entry.inputs(TEST_SAMPLES)
        ratio = sqnr(call(model, sample), call(qmodel, sample))
    rows = fxq.report(qmodel).rows
    ops = [row for row in rows if row.op not in STRUCTURE and not row.reason.startswith(NO_FLOATS)]
    layers = [row for row in ops if row.op in NAMES]
    return Coverage(
        model=model,
        quantizer=quantizer,
        qmodel=qmodel,
        int8=sum(row.quantized for row in layers),
        floats={row.module or row.node: row.reason for row in layers if not row.quantized},
        ops=len(ops),
        int8_ops=sum(row.quantized for row in ops),
        sqnr=ratio,
    )


def row(network: str, engine: str, found: Coverage) -> str:
    """What was measured, as a line of the table in docs/coverage.md."""
    layers = found.int8 + len(found.floats)
    floats = "; ".join(f"{layer}: {reason}" for layer, reason in found.floats.items()) or "none"
    return (
        f"| {network} | {engine} | {found.int8} of {layers} | {floats} | {found.int8_ops} of {found.ops} "
        f"| {found.sqnr:.1f} |"
    )
