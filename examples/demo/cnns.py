"""The demo's two networks, in plain torch: nothing in them knows of quantization."""

from __future__ import annotations

import torch
from torch import nn

CLASSES = 10
# the first bias of the quietest channel, in standard deviations of its values
QUIETEST = -3.0


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two convolutions and a way around them (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3)
        self.shortcut = nn.Identity() if inputs == outputs else conv_norm(inputs, outputs, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.second(self.relu(self.first(x)))
        out += self.shortcut(x)
        return self.relu(out)


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; the way around is narrow (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 6) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Sequential(conv_norm(inputs, hidden, 1), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(conv_norm(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(inplace=True))
        self.project = conv_norm(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs
        # In networks that were trained for weeks some channels hardly ever leave zero, and the next batch norm divides
        # them by next to nothing: its folded weights differ by orders of magnitude (Nagel et al. 2019, figure 2).
        # A minute of training does not get there, so the channels start out between lively and nearly dead.
        self.expand[0][1].bias.data = torch.linspace(0, QUIETEST, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


class Network(nn.Module):
    """A stem, blocks, global pooling and a linear head."""

    def __init__(self, stem: nn.Module, blocks: list[nn.Module], features: int) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(features, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape ``(batch, 10)`` for images of shape ``(batch, 1, 24, 24)``."""
        return self.head(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


def resnet() -> Network:
    stem = nn.Sequential(conv_norm(1, 32, 3, 2), nn.ReLU(inplace=True))
    blocks: list[nn.Module] = [Residual(32, 32, 1), Residual(32, 64, 2), Residual(64, 64, 1), Residual(64, 128, 2)]
    return Network(stem, blocks, 128)


def mobilenet() -> Network:
    stem = nn.Sequential(conv_norm(1, 16, 3, 2), nn.ReLU6(inplace=True))
    shapes = [(16, 24, 1), (24, 24, 1), (24, 32, 2), (32, 32, 1), (32, 32, 1), (32, 48, 2), (48, 48, 1)]
    blocks: list[nn.Module] = [InvertedResidual(*shape) for shape in shapes]
    last = nn.Sequential(conv_norm(48, 192, 1), nn.ReLU6(inplace=True))
    return Network(stem, [*blocks, last], 192)


NETWORKS = {"resnet": resnet, "mobilenet": mobilenet}
