"""A YOLOv8-like detector, written as Ultralytics writes it: its root filters by score, so it can't be traced whole."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from gallery.layers import ConvNormAct


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> ConvNormAct:
    return ConvNormAct(inputs, outputs, kernel, stride, act=nn.SiLU)


class Bottleneck(nn.Module):
    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = conv(channels, channels, 3)
        self.cv2 = conv(channels, channels, 3)
        self.add = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.cv2(self.cv1(x)) if self.add else self.cv2(self.cv1(x))


class C2f(nn.Module):
    def __init__(self, inputs: int, outputs: int, n: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.c = outputs // 2
        self.cv1 = conv(inputs, 2 * self.c)
        self.cv2 = conv((2 + n) * self.c, outputs)
        self.m = nn.ModuleList(Bottleneck(self.c, shortcut) for _ in range(n))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = list(self.cv1(x).chunk(2, 1))
        y.extend(m(y[-1]) for m in self.m)
        return self.cv2(torch.cat(y, 1))


class SPPF(nn.Module):
    def __init__(self, inputs: int, outputs: int, k: int = 5) -> None:
        super().__init__()
        hidden = inputs // 2
        self.cv1 = conv(inputs, hidden)
        self.cv2 = conv(hidden * 4, outputs)
        self.m = nn.MaxPool2d(kernel_size=k, stride=1, padding=k // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.cv1(x)
        y1 = self.m(x)
        y2 = self.m(y1)
        return self.cv2(torch.cat((x, y1, y2, self.m(y2)), 1))


class Backbone(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = conv(3, width, 3, 2)
        self.stage1 = nn.Sequential(conv(width, 4 * width, 3, 2), C2f(4 * width, 4 * width, shortcut=True))
        self.stage2 = nn.Sequential(conv(4 * width, 8 * width, 3, 2), SPPF(8 * width, 8 * width))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        p3 = self.stage1(self.stem(x))
        return [p3, self.stage2(p3)]


class PAN(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.upsample = nn.Upsample(None, 2, "nearest")
        self.top_down = C2f(12 * width, 4 * width)
        self.down = conv(4 * width, 4 * width, 3, 2)
        self.bottom_up = C2f(12 * width, 8 * width)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        p3, p4 = features
        n3 = self.top_down(torch.cat([self.upsample(p4), p3], 1))
        return [n3, self.bottom_up(torch.cat([self.down(n3), p4], 1))]


class Detect(nn.Module):
    def __init__(self, classes: int, channels: list[int], reg_max: int = 4) -> None:
        super().__init__()
        self.cv2 = nn.ModuleList(nn.Sequential(conv(c, 24, 3), nn.Conv2d(24, 4 * reg_max, 1)) for c in channels)
        self.cv3 = nn.ModuleList(nn.Sequential(conv(c, 24, 3), nn.Conv2d(24, classes, 1)) for c in channels)
        # training starts there and stays near: boxes of some size, and few objects in an image of 640 pixels
        for box, scores, stride in zip(self.cv2, self.cv3, (8, 16), strict=True):
            nn.init.constant_(box[-1].bias, 1.0)
            nn.init.constant_(scores[-1].bias, math.log(5 / classes / (640 / stride) ** 2))

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        for i in range(len(x)):
            x[i] = torch.cat((self.cv2[i](x[i]), self.cv3[i](x[i])), 1)
        return x


class Yolo(nn.Module):
    """``levels``: raw maps, ``boxes``: (batch, N, 4), ``scores``: (batch, N, classes), ``kept``: per image, the int64
    indices of the boxes that score enough, whose number depends on the data.
    """

    def __init__(self, width: int = 8, classes: int = 4, reg_max: int = 4) -> None:
        super().__init__()
        self.nc, self.reg_max = classes, reg_max
        self.backbone = Backbone(width)
        self.neck = PAN(width)
        self.detect = Detect(classes, [4 * width, 8 * width], reg_max)

    def forward(self, x: torch.Tensor, conf_thres: float = 0.001) -> dict[str, Any]:
        levels = self.detect(self.neck(self.backbone(x)))
        flat = torch.cat([level.flatten(2) for level in levels], 2)
        box, cls = flat.split((self.reg_max * 4, self.nc), 1)
        b, _, a = box.shape
        project = torch.arange(self.reg_max, dtype=box.dtype)
        distance = box.view(b, 4, self.reg_max, a).transpose(2, 1).softmax(1).mul(project.view(1, -1, 1, 1)).sum(1)
        scores = cls.sigmoid().transpose(1, 2)
        kept = []
        for image in scores:
            candidates = image.amax(1) > conf_thres
            if not candidates.any():
                kept.append(torch.zeros(0, dtype=torch.int64))
                continue
            kept.append(candidates.nonzero().squeeze(1))
        return {"levels": levels, "boxes": distance.transpose(1, 2), "scores": scores, "kept": kept}
