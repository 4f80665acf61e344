"""A two-tower recommender: what the user did and what the item is, each to a vector; their dot product is the score."""

from __future__ import annotations

import torch
from torch import nn


def tower(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, outputs)
    )


class TwoTower(nn.Module):
    """``user``, ``item``: (batch,), ``history``: (batch, length), all int64; ``tags``: the tags of all items one after
    another, int64, where those of item i start at ``offsets[i]``; ``context``: (batch, 4) of float32.
    Returns scores, (batch,).
    """

    def __init__(self, users: int = 300, items: int = 500, tags: int = 60, dim: int = 24) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(users, dim)
        self.item_embedding = nn.Embedding(items, dim)
        self.history_bag = nn.EmbeddingBag(items, dim, mode="mean")
        self.tag_bag = nn.EmbeddingBag(tags, dim, mode="sum")
        self.user_tower = tower(2 * dim + 4, 64, 32)
        self.item_tower = tower(2 * dim, 64, 32)

    def forward(
        self,
        user: torch.Tensor,
        item: torch.Tensor,
        history: torch.Tensor,
        tags: torch.Tensor,
        offsets: torch.Tensor,
        context: torch.Tensor,
    ) -> torch.Tensor:
        user_vector = self.user_tower(torch.cat([self.user_embedding(user), self.history_bag(history), context], dim=1))
        item_vector = self.item_tower(torch.cat([self.item_embedding(item), self.tag_bag(tags, offsets)], dim=-1))
        return (user_vector * item_vector).sum(dim=1)
