"""What int8 arithmetic gives, written down a second time, apart from fxq: numbers must be equal, not close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

import fxq_core as fxq


def on_grid(x: torch.Tensor, row: Any) -> torch.Tensor:
    """The nearest values that the codes 0 to 255 stand for with a row's scale and zero point."""
    codes = (torch.round(x / row.scale) + row.zero_point).clamp(0, 255)
    return (codes - row.zero_point) * row.scale


def int8_weight(weight: torch.Tensor) -> torch.Tensor:
    """A weight rounded to 255 codes per output channel, of which the outer ones are the largest magnitude."""
    scale = (weight.detach().flatten(1).abs().amax(1).double() / 127).float()
    scale = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight.detach() / scale).clamp(-127, 127) * scale


def folded(conv: Any, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution followed by a batch norm in eval mode."""
    k = (norm.running_var.double() + norm.eps).rsqrt()
    k = k if norm.weight is None else k * norm.weight.detach().double()
    bias = 0.0 if conv.bias is None else conv.bias.detach().double()
    shift = 0.0 if norm.bias is None else norm.bias.detach().double()
    weight = conv.weight.detach().double() * k.reshape(-1, *[1] * (conv.weight.dim() - 1))
    return weight.float(), ((bias - norm.running_mean.double()) * k + shift).float()


def module(forward: Callable[..., Any], **members: Any) -> nn.Module:
    """A module with these submodules, parameters and buffers, and this forward, which takes the module first."""
    made = type("Model", (nn.Module,), {"forward": forward})()
    for name, member in members.items():
        if isinstance(member, torch.Tensor) and not isinstance(member, nn.Parameter):
            made.register_buffer(name, member)
        else:
            setattr(made, name, member)
    return made.eval()


def settled(norm: Any) -> Any:
    """A batch norm as training would leave it, so that dropping, doubling or swapping it shows."""
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 4)
        if norm.affine:
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
    return norm


def quantized(
    model: nn.Module, *batches: Any, registry: fxq.Registry, engine: str = "reference", config: Any = None
) -> tuple[nn.Module, SimpleNamespace]:
    """The quantized model, and its report's rows as attributes named like the nodes; outer graphs hide inner ones.

    Biases are those of the float model, as they are in the arithmetic here.
    """
    config = replace(config or fxq.Config(), bias_correction=False)
    qmodel = fxq.quantize(model.eval(), batches, engine=engine, config=config, registry=registry)
    return qmodel, SimpleNamespace(**{row.node: row for row in reversed(fxq.report(qmodel).rows)})
