"""The networks, and what each is trained on: the demo's two, and others at sizes that train in a minute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from types import MappingProxyType

from torch import nn

from accuracy.textures import textures
from cnns import mobilenet, resnet
from data import Dataset, digits
from gallery.efficientnet import EfficientNet
from gallery.mobilenet_v3 import MobileNetV3
from gallery.shufflenet_v2 import ShuffleNetV2
from networks.mobilenet import MobileNetV2
from networks.resnet import ResNet18

CLASSES = 10
SIDE = 32
SEED = 0


def coloured_digits(seed: int) -> Dataset:
    """The digits at 32x32, with the three channels that most networks take."""
    data = digits(seed, SIDE)
    return replace(data, train=data.train.repeat(1, 3, 1, 1), test=data.test.repeat(1, 3, 1, 1))


@dataclass(frozen=True, slots=True)
class Network:
    """``title`` is what tables show; ``data`` makes the images from a seed."""

    title: str
    build: Callable[[], nn.Module]
    data: Callable[[int], Dataset]


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "resnet": Network("demo's ResNet, digits", resnet, digits),
        "mobilenet": Network("demo's MobileNet, digits", mobilenet, digits),
        "resnet18": Network("ResNet-18, digits", partial(ResNet18, 32, CLASSES), coloured_digits),
        "mobilenet_v2": Network("MobileNetV2, digits", partial(MobileNetV2, CLASSES, 0.5, 2, 5), coloured_digits),
        "resnet18_textures": Network("ResNet-18, textures", partial(ResNet18, 16, CLASSES), textures),
        "efficientnet": Network("EfficientNet, textures", EfficientNet, textures),
        "mobilenet_v3": Network("MobileNetV3, textures", MobileNetV3, textures),
        "shufflenet_v2": Network("ShuffleNetV2, textures", ShuffleNetV2, textures),
    }
)


@cache
def data_of(name: str) -> Dataset:
    """What a network is trained on, calibrated and measured with."""
    return NETWORKS[name].data(SEED)
