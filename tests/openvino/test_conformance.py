"""OpenVINO passes the conformance kit, like any engine."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from fxq_core.testing import EngineSuite, Network, Sample

from networks.mobilenet import MobileNetV2
from networks.resnet import ResNet18


class SmallResNet(ResNet18):
    def __init__(self) -> None:
        super().__init__(width=8, classes=5)


class SmallMobileNet(MobileNetV2):
    def __init__(self) -> None:
        super().__init__(classes=5)


class TestConformance(EngineSuite):
    provider = "fxq-openvino"
    engine = "openvino"
    complete = True
    samples = {
        "dilated": Sample("conv2d", nn.Conv2d(8, 6, 3, padding=2, dilation=2)),
        "transposed groups": Sample("conv_transpose2d", nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, groups=4)),
        "average of ragged windows": Sample("avg_pool2d", nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
        "adaptive to halves": Sample("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x[..., :6], (3, 2))),
        "roll of all": Sample("roll", lambda x: x.roll(3)),
        "tensor_split": Sample("chunk", lambda x: x.tensor_split(3, 1)[1]),
        "pad by its shape": Sample("pad", lambda x: F.pad(x, (0, x.shape[-1] % 4, x.size(2) // 3, 0))),
    }
    networks = {
        **EngineSuite.networks,
        "resnet": Network(SmallResNet, (3, 32, 32)),
        "mobilenet": Network(SmallMobileNet, (3, 32, 32)),
    }
