"""fxq's conformance suite: every built-in pattern that the engine lowers, networks, and the laws of engines."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from fxq_core.testing import EngineSuite, Network, Sample

from fxq_integer_networks import MobileNet, ResNet


class TestInteger(EngineSuite):
    provider = "fxq-integer"
    engine = "integer"
    samples = {
        "dilated": Sample("conv2d", nn.Conv2d(8, 6, 3, padding=2, dilation=2)),
        "dilated depthwise": Sample("conv1d", nn.Conv1d(8, 8, 3, dilation=2, groups=8), (8, 9)),
        "strided groups": Sample(
            "conv2d_clamp", nn.Sequential(nn.Conv2d(8, 4, 3, 2, groups=2), nn.Hardtanh(-0.2, 0.3))
        ),
        "pad by its shape": Sample("pad", lambda x: F.pad(x, (0, x.shape[-1] % 4, x.size(2) // 3, 0))),
        "linear of features": Sample("linear", nn.Linear(8, 6), (8,)),
    }
    rejected = {
        "sums that may not fit 32 bits": Sample(
            "conv1d", nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 4, 33_280)), (8, 65, 64)
        ),
    }
    networks = {
        **EngineSuite.networks,
        "resnet": Network(ResNet, (3, 16, 16)),
        "mobilenet": Network(MobileNet, (3, 16, 16)),
    }
