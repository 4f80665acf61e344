"""A tagger of words: embedding, bidirectional LSTM, a linear layer per word."""

from __future__ import annotations

import torch
from torch import nn


class LSTMTagger(nn.Module):
    """Tokens of int64, (batch, length), to tag scores, (batch, length, tags)."""

    def __init__(self, vocabulary: int = 200, embedding: int = 32, hidden: int = 48, tags: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=0)
        self.lstm = nn.LSTM(embedding, hidden, num_layers=2, bidirectional=True, batch_first=True, dropout=0.2)
        self.dropout = nn.Dropout(0.2)
        self.hidden2tag = nn.Linear(2 * hidden, tags)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        embeds = self.embedding(tokens)
        output, _ = self.lstm(embeds)
        return self.hidden2tag(self.dropout(output))
