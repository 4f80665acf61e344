"""The networks of ``calibration.py``: ResNet-18 (He et al. 2016), and two whose depth is chosen."""

from __future__ import annotations

import torch
from torch import nn


class Basic(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        project = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.shortcut = project if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18() -> nn.Module:
    blocks = [
        Basic(channels, width, stride)
        for first, width, step in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        for channels, stride in ((first, step), (width, 1))
    ]
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)
    return nn.Sequential(*stem, *blocks, *head).eval()


class Inverted(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.layers = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def stack(convolutions: int) -> nn.Module:
    """Convolution, batch norm and ReLU in a row."""
    blocks = ((nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(convolutions))
    return nn.Sequential(*(module for block in blocks for module in block)).eval()


def residuals(convolutions: int) -> nn.Module:
    """Inverted residuals, of three convolutions each."""
    return nn.Sequential(*(Inverted(8) for _ in range(convolutions // 3))).eval()
