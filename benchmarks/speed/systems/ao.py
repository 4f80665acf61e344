"""torch.ao's FX graph mode, as its tutorial has it."""

from __future__ import annotations

import torch
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from speed.systems.built import Built, Stages, saved_size


def build(model: nn.Module, batches: list[torch.Tensor], stages: Stages, *, engine: str) -> Built:
    torch.backends.quantized.engine = engine
    with stages.quantizing():
        prepared = prepare_fx(model, get_default_qconfig_mapping(engine), (batches[0][:1],))
        with stages.calibrating():
            for batch in batches:
                prepared(batch)
        qmodel = convert_fx(prepared)
    return Built(lambda x: lambda: qmodel(x), saved_size(qmodel))
