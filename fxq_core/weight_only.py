"""Look-ups in tables of int8 weights, which give float numbers: the same in plain torch ops on every engine."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core.context import LoweringContext, QWeight
from fxq_core.types import Match


class Int8Embedding(nn.Module):
    """Rows of int8 codes, each with its scale; ``forward(indices)`` gives float32 of shape ``(*indices, features)``.

    Buffers: ``weight`` (int8, ``(rows, features)``) and ``weight_scale`` (float32, ``(rows,)``, or ``()``).
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor

    def __init__(self, weight: QWeight) -> None:
        super().__init__()
        self.register_buffer("weight", weight.values)
        self.register_buffer("weight_scale", weight.scale)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        rows = F.embedding(indices, self.weight).float()
        return rows * (self.weight_scale[indices].unsqueeze(-1) if self.weight_scale.dim() else self.weight_scale)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class Int8EmbeddingBag(Int8Embedding):
    """Sums, means or maxima over bags of such rows; ``forward`` takes what ``nn.EmbeddingBag`` takes."""

    def __init__(self, weight: QWeight, mode: str, include_last_offset: bool) -> None:
        super().__init__(weight)
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(
        self,
        indices: torch.Tensor,
        offsets: torch.Tensor | None = None,
        per_sample_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        rows = super().forward(indices.reshape(-1))
        order = torch.arange(indices.numel(), dtype=indices.dtype).reshape(indices.shape)
        return F.embedding_bag(
            order, rows, offsets, mode=self.mode, per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
        )  # fmt: skip


def emit_embedding(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    return _called(ctx, Int8Embedding(ctx.quantize_weight(layer.weight)))


def emit_embedding_bag(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    weight = ctx.quantize_weight(layer.weight)
    return _called(ctx, Int8EmbeddingBag(weight, layer.mode, layer.include_last_offset))


def _called(ctx: LoweringContext, module: nn.Module) -> fx.Node:
    """Call the module as the float one is called; their arguments have the same places."""
    args, kwargs = ctx.arguments()
    if "input" in kwargs:
        kwargs["indices"] = kwargs.pop("input")
    return ctx.module(module, *args, **kwargs)
