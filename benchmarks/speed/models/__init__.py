"""The networks, at the size of their papers where tests/gallery has them small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gallery.batches import smooth
from gallery.convnext import ConvNeXt
from gallery.densenet import DenseNet
from gallery.efficientnet import EfficientNet
from gallery.mobilenet_v3 import MobileNetV3
from gallery.regnet import RegNet
from gallery.resnet import ResNet
from gallery.shufflenet_v2 import ShuffleNetV2
from gallery.squeezenet import SqueezeNet
from gallery.statistics import settle
from gallery.vit import VisionTransformer
from networks.mobilenet import MobileNetV2
from networks.resnet import ResNet18
from speed.models.mixnet import MixNet
from speed.models.stack import Stack

CLASSES = 1000
SMALL = (
    (3, 16, 16, 8, nn.ReLU, 2),
    (3, 72, 24, 0, nn.ReLU, 2),
    (3, 88, 24, 0, nn.ReLU, 1),
    (5, 96, 40, 24, nn.Hardswish, 2),
    (5, 240, 40, 64, nn.Hardswish, 1),
    (5, 240, 40, 64, nn.Hardswish, 1),
    (5, 120, 48, 32, nn.Hardswish, 1),
    (5, 144, 48, 40, nn.Hardswish, 1),
    (5, 288, 96, 72, nn.Hardswish, 2),
    (5, 576, 96, 144, nn.Hardswish, 1),
    (5, 576, 96, 144, nn.Hardswish, 1),
)
B0 = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
SQUEEZENET_1_1 = (
    ((16, 64), (16, 64)),
    ((32, 128), (32, 128)),
    ((48, 192), (48, 192), (64, 256), (64, 256)),
)
DEPTHS = (5, 10, 20, 40, 80, 160)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``shape`` is that of one input, without the batch; ``title`` is what tables show."""

    title: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 224, 224)

    def inputs(self, batch: int) -> torch.Tensor:
        """One batch, (batch, \\*shape) of float32, from torch's global generator."""
        return smooth(batch, *self.shape, coarse=7)

    def batches(self, number: int, size: int, seed: int) -> list[torch.Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return [self.inputs(size) for _ in range(number)]


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "resnet18": Model(title="ResNet-18", build=ResNet18),
        "resnet50": Model(title="ResNet-50", build=partial(ResNet, 64, (3, 4, 6, 3), CLASSES)),
        "mobilenet_v2": Model(title="MobileNetV2", build=MobileNetV2),
        "mobilenet_v3": Model(title="MobileNetV3-small", build=partial(MobileNetV3, SMALL, 1024, CLASSES)),
        "shufflenet_v2": Model(
            title="ShuffleNetV2 x1.0", build=partial(ShuffleNetV2, (24, 116, 232, 464, 1024), (4, 8, 4), CLASSES)
        ),
        "efficientnet_b0": Model(title="EfficientNet-B0", build=partial(EfficientNet, B0, 32, CLASSES)),
        "squeezenet": Model(title="SqueezeNet 1.1", build=partial(SqueezeNet, 64, SQUEEZENET_1_1, CLASSES)),
        "densenet121": Model(title="DenseNet-121", build=partial(DenseNet, 32, (6, 12, 24, 16), 64, CLASSES)),
        "regnet_y": Model(
            title="RegNet-Y-400MF", build=partial(RegNet, (48, 104, 208, 440), (1, 3, 6, 6), 32, CLASSES)
        ),
        "mixnet": Model(title="MixNet-like", build=partial(MixNet, classes=CLASSES)),
        "convnext_tiny": Model(
            title="ConvNeXt-tiny", build=partial(ConvNeXt, (96, 192, 384, 768), (3, 3, 9, 3), CLASSES)
        ),
        "vit_tiny": Model(title="ViT-tiny", build=partial(VisionTransformer, 224, 16, 192, 12, 3, CLASSES)),
    }
)
# plain convolutions behind each other, so small that calling them is what costs
STACKS: Mapping[str, Model] = MappingProxyType(
    {
        f"stack{depth}": Model(title=f"{depth} layers", build=partial(Stack, depth), shape=(32, 14, 14))
        for depth in DEPTHS
    }
)


def size(model: Model) -> dict[str, float]:
    """The multiply-accumulates of one input in 1e9, and how many convolutions and linear layers there are."""
    network = model.build().eval()
    (x,) = model.batches(1, 1, seed=0)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    layers = sum(isinstance(module, (nn.Conv2d, nn.Linear)) for module in network.modules())
    return {"gmac": round(counter.get_total_flops() / 2e9, 4), "layers": layers}


def settled(model: Model, seed: int = 0) -> dict[str, torch.Tensor]:
    """The state dict of the network with random weights and batch-norm statistics of its inputs, as if trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = model.build()
        settle(network, lambda size: (model.inputs(size),), batches=3, batch_size=4)
    return network.state_dict()
