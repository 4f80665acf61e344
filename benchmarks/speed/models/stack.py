"""As many equal layers as one likes."""

from __future__ import annotations

from torch import nn

from gallery.layers import ConvNormAct


class Stack(nn.Sequential):
    """``depth`` times a 3x3 convolution, batch norm and ReLU."""

    def __init__(self, depth: int, channels: int = 32) -> None:
        super().__init__(*(ConvNormAct(channels, channels, 3) for _ in range(depth)))
