"""Layers of attention, inputs and masks for them, and what a captured graph of them calls."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

BATCH, LENGTH, SOURCE, SIZE, HEADS = 2, 5, 6, 8, 2
CAUSAL = nn.Transformer.generate_square_subsequent_mask(LENGTH)
PADDING = torch.tensor([[False] * 4 + [True], [False] * 5])  # at the end, where torch may drop it
GAP = torch.tensor([[False, True] + [False] * 3, [False] * 5])


def generator() -> torch.Generator:
    """Every draw starts anew: no test depends on those before it."""
    return torch.Generator().manual_seed(3)


def tensor(*shape: int, first: bool = True) -> torch.Tensor:
    """Numbers of shape (batch, length, size), or (length, batch, size) unless the batch is ``first``."""
    x = torch.randn(shape, generator=generator())
    return x if first or len(shape) < 3 else x.transpose(0, 1).contiguous()


def targets(result: Any) -> list[Any]:
    """What the graphs of all parts call, in order."""
    nodes = (node for part in result.parts.values() for node in part.graph.nodes)
    return [n.target for n in nodes if n.op in ("call_module", "call_function")]


def attention(**settings: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(SIZE, HEADS, **settings).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)  # torch's biases are zero
    return module


PADDING_MASKS = {"none": None, "end": PADDING, "gap": GAP, "float": torch.zeros(2, 5).masked_fill(PADDING, -math.inf)}


def encoder(nested: bool = True, **settings: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(SIZE, HEADS, 16, **settings)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(SIZE), enable_nested_tensor=nested)
