"""torch's float, called as it is."""

from __future__ import annotations

import torch
from torch import nn

from speed.systems.built import Built, Stages, saved_size


def build(model: nn.Module, batches: list[torch.Tensor], stages: Stages, *, channels_last: bool = False) -> Built:
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=memory_format)
    with stages.calibrating():
        for batch in batches:
            model(batch.to(memory_format=memory_format))

    def bind(x: torch.Tensor):
        x = x.to(memory_format=memory_format)
        return lambda: model(x)

    return Built(bind, saved_size(model))
