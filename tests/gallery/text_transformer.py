"""A text classifier around torch's own transformer layers."""

from __future__ import annotations

import torch
from torch import nn


class TextTransformer(nn.Module):
    """Tokens of int64, (batch, length), to class scores, (batch, classes)."""

    def __init__(
        self, vocabulary: int = 200, length: int = 24, dim: int = 48, heads: int = 4, depth: int = 2, classes: int = 5
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        self.position = nn.Parameter(torch.zeros(1, length, dim))
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.1, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth)
        self.classifier = nn.Linear(dim, classes)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens) + self.position[:, : tokens.shape[1]]
        x = self.encoder(x)
        x = x.mean(dim=1)
        return self.classifier(x)
