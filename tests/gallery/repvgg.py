"""RepVGG (Ding et al. 2021) in its training form: three branches per block, batch norm in each."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int, padding: int, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    layers: list[tuple[str, nn.Module]] = [("conv", conv), ("bn", nn.BatchNorm2d(outputs))]
    return nn.Sequential(OrderedDict(layers))


class RepVGGBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.nonlinearity = nn.ReLU()
        self.se = nn.Identity()
        self.rbr_identity = nn.BatchNorm2d(inputs) if outputs == inputs and stride == 1 else None
        self.rbr_dense = conv_bn(inputs, outputs, 3, stride, 1)
        self.rbr_1x1 = conv_bn(inputs, outputs, 1, stride, 0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        id_out = 0 if self.rbr_identity is None else self.rbr_identity(inputs)
        return self.nonlinearity(self.se(self.rbr_dense(inputs) + self.rbr_1x1(inputs) + id_out))


class RepVGG(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96), classes: int = 10) -> None:
        super().__init__()
        self.stage0 = RepVGGBlock(3, widths[0], stride=2)
        self.stage1 = nn.ModuleList([RepVGGBlock(widths[0], widths[1], 2), RepVGGBlock(widths[1], widths[1])])
        self.stage2 = nn.ModuleList([RepVGGBlock(widths[1], widths[2], 2), RepVGGBlock(widths[2], widths[2])])
        self.stage3 = nn.ModuleList([RepVGGBlock(widths[2], widths[3], 2)])
        self.gap = nn.AdaptiveAvgPool2d(output_size=1)
        self.linear = nn.Linear(widths[3], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.stage0(x)
        for stage in (self.stage1, self.stage2, self.stage3):
            for block in stage:
                out = block(out)
        out = self.gap(out)
        out = out.view(out.size(0), -1)
        return self.linear(out)
