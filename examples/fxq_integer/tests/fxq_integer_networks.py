"""Small networks with the blocks of ResNet (He et al. 2016) and MobileNetV3 (Howard et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias, 0.0, 0.1)
    return nn.Sequential(conv, norm)


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv_norm(inputs, outputs, 3, stride), conv_norm(outputs, outputs, 3)
        self.shortcut = conv_norm(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 8, 7), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 16, 2))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))
        return result


class InvertedResidual(nn.Module):
    """Wide, channel by channel, weighted by what the whole image says of each channel, narrow again."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(conv_norm(channels, hidden, 1), nn.Hardswish(inplace=True))
        self.depthwise = nn.Sequential(conv_norm(hidden, hidden, 5, groups=hidden), nn.ReLU6())
        self.squeeze, self.excite = nn.Conv2d(hidden, 4, 1), nn.Conv2d(4, hidden, 1)
        self.project = conv_norm(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.depthwise(self.expand(x))
        weight = F.hardsigmoid(self.excite(F.relu(self.squeeze(wide.mean((2, 3), keepdim=True)))))
        result: torch.Tensor = x + self.project(wide * weight)
        return result


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_norm(3, 8, 3, 2), nn.SiLU(), InvertedResidual(8, 24), InvertedResidual(8, 16)
        )
        self.head = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.features(x))
        return result
