"""torch.ao's FX graph mode with its own defaults, as its tutorial has it."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

NAME = "torch.ao"
ENGINES = frozenset(torch.backends.quantized.supported_engines)


def quantized(model: nn.Module, batches: list[torch.Tensor], engine: str) -> nn.Module:
    """The network for an engine of torch, which is the engine of this process from here on."""
    torch.backends.quantized.engine = engine
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that it is deprecated
        prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(engine), (batches[0],))
        for batch in batches:
            prepared(batch)
        return convert_fx(prepared)
