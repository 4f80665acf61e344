"""ShuffleNetV2 (Ma et al. 2018), with the structure that torchvision gives it."""

from __future__ import annotations

import torch
from torch import nn


def channel_shuffle(x: torch.Tensor, groups: int) -> torch.Tensor:
    batchsize, num_channels, height, width = x.size()
    channels_per_group = num_channels // groups
    x = x.view(batchsize, groups, channels_per_group, height, width)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(batchsize, num_channels, height, width)


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        features = outputs // 2
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.Conv2d(inputs, features, 1, bias=False),
                nn.BatchNorm2d(features),
                nn.ReLU(inplace=True),
            )
        self.branch2 = nn.Sequential(
            nn.Conv2d(inputs if stride > 1 else features, features, 1, bias=False),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, features, 3, stride, 1, groups=features, bias=False),
            nn.BatchNorm2d(features),
            nn.Conv2d(features, features, 1, bias=False),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 1:
            x1, x2 = x.chunk(2, dim=1)
            out = torch.cat((x1, self.branch2(x2)), dim=1)
        else:
            out = torch.cat((self.branch1(x), self.branch2(x)), dim=1)

        return channel_shuffle(out, 2)


class ShuffleNetV2(nn.Module):
    """``channels`` are those of the first convolution, of each stage and of the last convolution."""

    def __init__(
        self, channels: tuple[int, ...] = (24, 64, 128, 256), repeats: tuple[int, ...] = (3, 3), classes: int = 10
    ) -> None:
        super().__init__()
        first, *_, widest, last = channels
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.stages = [f"stage{number}" for number in range(2, 2 + len(repeats))]
        for stage, inputs, outputs, blocks in zip(self.stages, channels, channels[1:], repeats, strict=False):
            rest = (InvertedResidual(outputs, outputs, 1) for _ in range(blocks - 1))
            self.add_module(stage, nn.Sequential(InvertedResidual(inputs, outputs, 2), *rest))
        self.conv5 = nn.Sequential(nn.Conv2d(widest, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU(inplace=True))
        self.fc = nn.Linear(last, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        x = self.maxpool(x)
        for stage in self.stages:
            x = getattr(self, stage)(x)
        x = self.conv5(x)
        x = x.mean([2, 3])
        return self.fc(x)
