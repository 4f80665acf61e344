"""fxq."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

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

    def bind(x: torch.Tensor) -> Callable[[], Any]:
        if not tuned:
            return lambda: qmodel(x)
        # what is fastest depends on the batch size
        own = copy.deepcopy(qmodel)
        fxq.tune(own, x)
        return lambda: own(x)

    return Built(bind, saved_size(qmodel))
