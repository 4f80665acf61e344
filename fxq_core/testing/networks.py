"""Small networks, each with something that single ops do not have: values that meet, part, or pass through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """Two blocks that add their input to their result, with a batch norm and a constant."""

    offset: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)) for _ in range(2)
        )
        self.register_buffer("offset", torch.linspace(-0.5, 0.5, 8).reshape(1, 8, 1, 1))
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = F.relu(block(x) + x)
        result: torch.Tensor = self.head((x + self.offset).mean((2, 3)))
        return result


class Branches(nn.Module):
    """Three branches of one value, which are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2)
        self.left, self.right = nn.Conv2d(6, 4, 1), nn.Conv2d(6, 4, 3, padding=1)
        self.head = nn.Conv2d(14, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        branches = [F.relu(self.left(x)), self.right(F.relu(x)), F.max_pool2d(x, 3, 1, 1)]
        result: torch.Tensor = self.head(torch.cat(branches, 1)).flatten(1)
        return result


class Depthwise(nn.Module):
    """An inverted residual: wide, channel by channel, narrow again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 24, 1)
        self.channels, self.narrow = nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Conv2d(24, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.narrow(F.relu6(self.channels(F.relu6(self.wide(x)))))
        result: torch.Tensor = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return result


class Perceptron(nn.Module):
    """Linear layers alone: what an engine without convolutions runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


@dataclass(frozen=True, slots=True)
class Network:
    """A network and the shape that it takes, without the batch."""

    kind: type[nn.Module]
    shape: tuple[int, ...] = (3, 10, 10)

    def model(self, seed: int = 0) -> nn.Module:
        """In eval mode, with weights of its own; leaves the random state as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.kind().eval()

    def batch(self, size: int, seed: int = 0) -> torch.Tensor:
        """Normal numbers of shape ``(size, *shape)``; leaves the random state as it is."""
        return torch.randn(size, *self.shape, generator=torch.Generator().manual_seed(seed))


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "residual": Network(Residual),
        "branches": Network(Branches),
        "depthwise": Network(Depthwise),
        "perceptron": Network(Perceptron, (12,)),
    }
)
