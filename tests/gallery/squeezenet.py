"""SqueezeNet 1.1 (Iandola et al. 2016), with the structure that torchvision gives it: no batch norm at all."""

from __future__ import annotations

import torch
from torch import nn

Fires = tuple[tuple[int, int], ...]
GROUPS: tuple[Fires, ...] = (((16, 32), (16, 32)), ((24, 48), (24, 48)), ((32, 64),))


class Fire(nn.Module):
    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1
        )


class SqueezeNet(nn.Module):
    """``groups`` has the (squeezed, expanded) of each fire module between two poolings."""

    def __init__(self, width: int = 32, groups: tuple[Fires, ...] = GROUPS, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, kernel_size=3, stride=2), nn.ReLU(inplace=True)]
        for fires in groups:
            layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
            for squeezed, expanded in fires:
                layers.append(Fire(width, squeezed, expanded))
                width = 2 * expanded
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(p=0.5),
            nn.Conv2d(width, classes, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((1, 1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        x = self.classifier(x)
        return torch.flatten(x, 1)
