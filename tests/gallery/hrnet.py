"""HRNet (Wang et al. 2019): parallel resolutions, summed across scales, as its authors write it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from gallery.layers import ConvNormAct
from networks.resnet import BasicBlock


class HighResolutionModule(nn.Module):
    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.num_branches = len(channels)
        self.branches = nn.ModuleList([nn.Sequential(BasicBlock(c, c, 1)) for c in channels])
        self.fuse_layers = nn.ModuleList(
            [
                nn.ModuleList([self._fuse(channels, source=j, target=i) for j in range(len(channels))])
                for i in range(len(channels))
            ]
        )
        self.relu = nn.ReLU(inplace=True)

    def _fuse(self, channels: list[int], source: int, target: int) -> nn.Module | None:
        if source == target:
            return None
        if source > target:
            upsample = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
            return nn.Sequential(*ConvNormAct(channels[source], channels[target], act=None), upsample)
        steps: list[nn.Module] = []
        for step in range(target - source):
            last = step == target - source - 1
            outputs = channels[target] if last else channels[source]
            steps.append(ConvNormAct(channels[source], outputs, 3, 2, act=None if last else nn.ReLU))
        return nn.Sequential(*steps)

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        for i in range(self.num_branches):
            x[i] = self.branches[i](x[i])

        x_fuse = []
        for i in range(len(self.fuse_layers)):
            y = x[0] if i == 0 else self.fuse_layers[i][0](x[0])
            for j in range(1, self.num_branches):
                y = y + x[j] if i == j else y + self.fuse_layers[i][j](x[j])
            x_fuse.append(self.relu(y))

        return x_fuse


class HRNet(nn.Module):
    """Per-pixel class scores, (batch, classes, height / 2, width / 2)."""

    def __init__(self, width: int = 12, classes: int = 5) -> None:
        super().__init__()
        channels = [width, 2 * width, 4 * width]
        self.stem = nn.Sequential(ConvNormAct(3, 24, 3, 2))
        self.transition1 = nn.ModuleList([ConvNormAct(24, channels[0], 3), ConvNormAct(24, channels[1], 3, 2)])
        self.stage2 = HighResolutionModule(channels[:2])
        self.transition2 = ConvNormAct(channels[1], channels[2], 3, 2)
        self.stage3 = HighResolutionModule(channels)
        total = sum(channels)
        self.last_layer = nn.Sequential(
            nn.Conv2d(total, total, kernel_size=1, stride=1),
            nn.BatchNorm2d(total),
            nn.ReLU(inplace=True),
            nn.Conv2d(total, classes, kernel_size=1, stride=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x_list = [transition(x) for transition in self.transition1]
        y_list = self.stage2(x_list)
        y_list.append(self.transition2(y_list[-1]))
        x0, x1, x2 = self.stage3(y_list)

        x1 = F.interpolate(x1, size=x0.shape[-2:], mode="bilinear", align_corners=False)
        x2 = F.interpolate(x2, size=x0.shape[-2:], mode="bilinear", align_corners=False)
        return self.last_layer(torch.cat([x0, x1, x2], 1))
