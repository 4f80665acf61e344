"""Random inputs that look like data, from torch's global generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def smooth(batch: int, channels: int, *size: int, coarse: int = 4) -> torch.Tensor:
    """Low frequencies and a little noise, (batch, channels, *size), of mean 0 and bounded by 2, as pixels are."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    grid = 0.7 * torch.randn(batch, channels, *(coarse,) * len(size)) + torch.randn(batch, channels, *(1,) * len(size))
    low = F.interpolate(grid, size=size, mode=mode, align_corners=True)
    return 2 * torch.tanh(low + 0.1 * torch.randn(batch, channels, *size))


def tokens(batch: int, length: int, vocabulary: int) -> torch.Tensor:
    """Words, (batch, length) of int64, the low numbers more often, as in text."""
    return (torch.rand(batch, length) ** 2 * vocabulary).long()


def waves(batch: int, samples: int) -> torch.Tensor:
    """Three tones per item, each of its own pitch and loudness, and a little noise, (batch, 1, samples), peak 1."""
    pitch = torch.exp(5 * torch.rand(batch, 3, 1))
    phase = 2 * torch.pi * (torch.rand(batch, 3, 1) + pitch * torch.linspace(0, 1, samples))
    tones = torch.randn(batch, 3, 1).exp() * phase.sin()
    clip = tones.sum(1, keepdim=True) + 0.05 * torch.randn(batch, 1, samples)
    return clip / clip.abs().amax(2, keepdim=True)


def clouds(batch: int, points: int) -> torch.Tensor:
    """Points on ellipsoids of different shapes and places, (batch, 3, points)."""
    directions = F.normalize(torch.randn(batch, 3, points), dim=1)
    axes, centres = 0.2 + 1.3 * torch.rand(batch, 3, 1), 0.5 * torch.randn(batch, 3, 1)
    return directions * axes + centres + 0.02 * torch.randn(batch, 3, points)


def visits(batch: int) -> dict[str, torch.Tensor]:
    """What the two-tower recommender is called with; each item has one to four tags."""
    counts = torch.randint(1, 5, (batch,))
    return {
        "user": torch.randint(0, 300, (batch,)),
        "item": torch.randint(0, 500, (batch,)),
        "history": tokens(batch, 8, 500),
        "tags": tokens(1, int(counts.sum()), 60).squeeze(0),
        "offsets": counts.cumsum(0) - counts,
        "context": torch.randn(batch, 4),
    }
