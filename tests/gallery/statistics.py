"""What training would have done to a network's numbers, without training it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

BATCHES = 6
BATCH_SIZE = 16
# Between random batch norms, each ReLU amplifies a difference between two inputs by half (Yang et al. 2019), so that a
# deep network turns any rounding into noise; training undoes that. Biases on the linear side do so without training.
LINEAR = 1.5


def call(model: nn.Module, batch: tuple[Any, ...] | dict[str, Any]) -> Any:
    return model(**batch) if isinstance(batch, dict) else model(*batch)


@torch.no_grad()
def settle(
    model: nn.Module,
    inputs: Callable[[int], tuple[Any, ...] | dict[str, Any]],
    batches: int = BATCHES,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Give weights that keep the signal alive, move the rest from where it starts, and show batch norms their data."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for module in model.modules():
        if isinstance(module, (_ConvNd, nn.Linear)):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        elif isinstance(module, (_BatchNorm, nn.LayerNorm)):
            module.weight.copy_(1 + 0.2 * torch.randn_like(module.weight).clamp(-2, 2))
            module.bias.copy_(0.2 * torch.randn_like(module.bias))
            if isinstance(module, _BatchNorm):
                module.bias += LINEAR
    for name, parameter in model.named_parameters():
        if name.endswith("layer_scale"):
            parameter.uniform_(0.1, 0.5)
        elif "lstm.weight" in name:
            nn.init.kaiming_uniform_(parameter, nonlinearity="linear")
        elif parameter.unique().numel() == 1:
            parameter += 0.1 * torch.randn_like(parameter)
        elif name.endswith(("cls_token", "pos_embed", "position", "relative_position_bias_table")):
            parameter.normal_(std=0.5)
    model.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    # only the norms are in train mode, so that nothing is dropped; without a momentum they average over all batches
    for norm in norms:
        norm.train()
        norm.momentum = None
    for _ in range(batches):
        call(model, inputs(batch_size))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
