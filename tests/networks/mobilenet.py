"""MobileNetV2 (Sandler et al. 2018), with the structure that torchvision gives it."""

from __future__ import annotations

import torch
from torch import nn

# expansion, channels, blocks, stride of the first
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def multiple_of_eight(channels: float) -> int:
    """Round, but never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [conv_norm(inputs, hidden, 1)] if expansion > 1 else []
        project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.conv = nn.Sequential(*expand, conv_norm(hidden, hidden, 3, stride, hidden), project)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """``width`` multiplies the channels, which stay multiples of 8, but not those of the last convolution; ``stages``
    limits how many there are, and ``repeats`` how many blocks each has.
    """

    def __init__(self, classes: int = 1000, width: float = 1.0, repeats: int = 4, stages: int = 7) -> None:
        super().__init__()
        inputs = multiple_of_eight(32 * width)
        layers: list[nn.Module] = [conv_norm(3, inputs, 3, 2)]
        for expansion, channels, blocks, stride in STAGES[:stages]:
            outputs = multiple_of_eight(channels * width)
            for block in range(min(blocks, repeats)):
                layers.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, conv_norm(inputs, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))
