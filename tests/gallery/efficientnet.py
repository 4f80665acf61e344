"""EfficientNet (Tan and Le 2019), with the structure that torchvision gives it."""

from __future__ import annotations

import torch
from torch import nn

from gallery.layers import ConvNormAct, DropPath, SqueezeExcite

# expansion, kernel, stride, outputs, blocks
Row = tuple[int, int, int, int, int]
STAGES: tuple[Row, ...] = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 32, 2), (6, 3, 2, 48, 1))


class MBConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.use_res_connect = stride == 1 and inputs == outputs
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if hidden != inputs:
            layers.append(ConvNormAct(inputs, hidden, act=nn.SiLU))
        layers.append(ConvNormAct(hidden, hidden, kernel, stride, groups=hidden, act=nn.SiLU))
        layers.append(SqueezeExcite(hidden, max(8, inputs // 4), act=nn.SiLU))
        layers.append(ConvNormAct(hidden, outputs, act=None))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = DropPath(0.1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        result = self.block(input)
        if self.use_res_connect:
            result = self.stochastic_depth(result)
            result += input
        return result


class EfficientNet(nn.Module):
    def __init__(self, stages: tuple[Row, ...] = STAGES, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNormAct(3, width, 3, 2, act=nn.SiLU)]
        inputs = width
        for expansion, kernel, stride, outputs, blocks in stages:
            stage: list[nn.Module] = []
            for block in range(blocks):
                stage.append(MBConv(inputs, outputs, expansion, kernel, stride if block == 0 else 1))
                inputs = outputs
            layers.append(nn.Sequential(*stage))
        layers.append(ConvNormAct(inputs, inputs * 4, act=nn.SiLU))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(p=0.2, inplace=True), nn.Linear(inputs * 4, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)

        x = self.avgpool(x)
        x = torch.flatten(x, 1)

        return self.classifier(x)
