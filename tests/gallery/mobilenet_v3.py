"""MobileNetV3 (Howard et al. 2019), with the structure that torchvision gives it."""

from __future__ import annotations

import torch
from torch import nn

from gallery.layers import ConvNormAct, SqueezeExcite

# kernel, expanded, outputs, squeezed (0: no squeeze and excitation), activation, stride
Row = tuple[int, int, int, int, type[nn.Module], int]
BLOCKS: tuple[Row, ...] = (
    (3, 16, 16, 8, nn.ReLU, 1),
    (3, 48, 24, 0, nn.ReLU, 2),
    (3, 64, 24, 0, nn.ReLU, 1),
    (5, 72, 32, 18, nn.Hardswish, 2),
    (5, 96, 32, 24, nn.Hardswish, 1),
    (5, 96, 48, 24, nn.Hardswish, 2),
)


class InvertedResidual(nn.Module):
    def __init__(
        self, inputs: int, kernel: int, expanded: int, outputs: int, squeezed: int, act: type[nn.Module], stride: int
    ) -> None:
        super().__init__()
        self.use_res_connect = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(ConvNormAct(inputs, expanded, act=act))
        layers.append(ConvNormAct(expanded, expanded, kernel, stride, groups=expanded, act=act))
        if squeezed:
            layers.append(SqueezeExcite(expanded, squeezed, gate=nn.Hardsigmoid))
        layers.append(ConvNormAct(expanded, outputs, act=None))
        self.block = nn.Sequential(*layers)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        result = self.block(input)
        if self.use_res_connect:
            result += input
        return result


class MobileNetV3(nn.Module):
    def __init__(self, blocks: tuple[Row, ...] = BLOCKS, hidden: int = 128, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNormAct(3, 16, 3, 2, act=nn.Hardswish)]
        inputs = 16
        for kernel, expanded, outputs, squeezed, act, stride in blocks:
            layers.append(InvertedResidual(inputs, kernel, expanded, outputs, squeezed, act, stride))
            inputs = outputs
        layers.append(ConvNormAct(inputs, inputs * 6, act=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * 6, hidden),
            nn.Hardswish(inplace=True),
            nn.Dropout(p=0.2, inplace=True),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        return self.classifier(x)
