"""RegNet-Y (Radosavovic et al. 2020), with the structure that torchvision gives it."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from gallery.layers import ConvNormAct, SqueezeExcite


class BottleneckTransform(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, stride: int, group_width: int, squeezed: int) -> None:
        layers: list[tuple[str, nn.Module]] = [
            ("a", ConvNormAct(inputs, outputs)),
            ("b", ConvNormAct(outputs, outputs, 3, stride, groups=outputs // group_width)),
            ("se", SqueezeExcite(outputs, squeezed)),
            ("c", ConvNormAct(outputs, outputs, act=None)),
        ]
        super().__init__(OrderedDict(layers))


class ResBottleneckBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, group_width: int = 8) -> None:
        super().__init__()
        self.proj = None
        if inputs != outputs or stride != 1:
            self.proj = ConvNormAct(inputs, outputs, 1, stride, act=None)
        self.f = BottleneckTransform(inputs, outputs, stride, group_width, max(8, inputs // 4))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.proj(x) + self.f(x) if self.proj is not None else x + self.f(x)
        return self.activation(x)


class RegNet(nn.Module):
    def __init__(
        self,
        widths: tuple[int, ...] = (24, 48, 96),
        blocks: tuple[int, ...] = (2, 2, 2),
        stem: int = 16,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.stem = ConvNormAct(3, stem, 3, 2)
        self.trunk_output = nn.Sequential()
        inputs = stem
        for i, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            stage = nn.Sequential()
            for j in range(depth):
                stage.add_module(f"block{i + 1}-{j}", ResBottleneckBlock(inputs, width, 2 if j == 0 else 1))
                inputs = width
            self.trunk_output.add_module(f"block{i + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.trunk_output(x)

        x = self.avgpool(x)
        x = x.flatten(start_dim=1)
        return self.fc(x)
