"""fxq."""

from __future__ import annotations

import torch
from torch import nn

import fxq_core as fxq

from speed.systems.built import Built, Stages, saved_size


def build(model: nn.Module, batches: list[torch.Tensor], stages: Stages, *, engine: str, tuned: bool = False) -> Built:
    with stages.quantizing():
        quantizer = fxq.Quantizer(model, batches[0][:1], engine=engine)
        with stages.calibrating():
            quantizer.calibrate(batches)
        qmodel = quantizer.quantize()
        if tuned:
            fxq.tune(qmodel, batches[0][:1])
    return Built(lambda x: lambda: qmodel(x), saved_size(qmodel))
