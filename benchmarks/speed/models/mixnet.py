"""MixNet (Tan and Le 2019), with dilated kernels too: depthwise convolutions of several sizes side by side."""

from __future__ import annotations

import torch
from torch import nn

from gallery.layers import ConvNormAct, SqueezeExcite

# expansion, (kernel, dilation) of each chunk of channels, squeezed (0: no squeeze and excitation), outputs, stride
Row = tuple[int, tuple[tuple[int, int], ...], int, int, int]
BLOCKS: tuple[Row, ...] = (
    (1, ((3, 1),), 0, 16, 1),
    (6, ((3, 1),), 0, 24, 2),
    (3, ((3, 1),), 0, 24, 1),
    (6, ((3, 1), (5, 1), (7, 1)), 12, 40, 2),
    (6, ((3, 1), (3, 2)), 20, 40, 1),
    (6, ((3, 1), (3, 2)), 20, 40, 1),
    (6, ((3, 1), (5, 1), (7, 1)), 20, 80, 2),
    (6, ((3, 1), (3, 2)), 20, 80, 1),
    (6, ((3, 1), (3, 2)), 20, 80, 1),
    (6, ((3, 1), (5, 1), (7, 1), (9, 1)), 60, 120, 1),
    (3, ((3, 1), (3, 2), (3, 3), (3, 4)), 60, 120, 1),
    (6, ((3, 1), (5, 1), (7, 1), (9, 1), (11, 1)), 60, 200, 2),
    (6, ((3, 1), (5, 1), (3, 2), (5, 2)), 100, 200, 1),
)


class MixedConv(nn.Module):
    """Each chunk of the channels has a depthwise convolution of its own."""

    def __init__(self, channels: int, kernels: tuple[tuple[int, int], ...], stride: int) -> None:
        super().__init__()
        rest = channels - (len(kernels) - 1) * (channels // len(kernels))
        self.sizes = [rest, *[channels // len(kernels)] * (len(kernels) - 1)]
        self.convs = nn.ModuleList(
            nn.Conv2d(size, size, kernel, stride, kernel // 2 * dilation, dilation, groups=size, bias=False)
            for size, (kernel, dilation) in zip(self.sizes, kernels, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(self.convs) == 1:
            return self.convs[0](x)
        chunks = torch.split(x, self.sizes, 1)
        return torch.cat([conv(chunks[number]) for number, conv in enumerate(self.convs)], 1)


class Block(nn.Module):
    def __init__(
        self,
        inputs: int,
        expansion: int,
        kernels: tuple[tuple[int, int], ...],
        squeezed: int,
        outputs: int,
        stride: int,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        act = nn.SiLU if squeezed else nn.ReLU
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(ConvNormAct(inputs, hidden, act=act))
        layers += [MixedConv(hidden, kernels, stride), nn.BatchNorm2d(hidden), act()]
        if squeezed:
            layers.append(SqueezeExcite(hidden, squeezed, act=nn.SiLU))
        layers.append(ConvNormAct(hidden, outputs, act=None))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MixNet(nn.Module):
    def __init__(self, blocks: tuple[Row, ...] = BLOCKS, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNormAct(3, 16, 3, 2)]
        inputs = 16
        for expansion, kernels, squeezed, outputs, stride in blocks:
            layers.append(Block(inputs, expansion, kernels, squeezed, outputs, stride))
            inputs = outputs
        self.features = nn.Sequential(*layers, ConvNormAct(inputs, 1536))
        self.classifier = nn.Linear(1536, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
