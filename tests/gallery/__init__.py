"""Architectures in plain torch: each has the structure its authors gave it, and is small in width and depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from gallery.audio import AudioNet
from gallery.batches import clouds, smooth, tokens, visits, waves
from gallery.convnext import ConvNeXt
from gallery.densenet import DenseNet
from gallery.efficientnet import EfficientNet
from gallery.hrnet import HRNet
from gallery.inception import Inception
from gallery.lstm_tagger import LSTMTagger
from gallery.mlp_mixer import MlpMixer
from gallery.mobilenet_v3 import MobileNetV3
from gallery.pointnet import PointNet
from gallery.regnet import RegNet
from gallery.repvgg import RepVGG
from gallery.resnet import ResNet
from gallery.shufflenet_v2 import ShuffleNetV2
from gallery.squeezenet import SqueezeNet
from gallery.statistics import settle
from gallery.swin import SwinTransformer
from gallery.text_transformer import TextTransformer
from gallery.two_tower import TwoTower
from gallery.unet import UNet
from gallery.video import VideoResNet
from gallery.vit import VisionTransformer
from gallery.yolo import Yolo
from networks.mobilenet import MobileNetV2


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One architecture.

    ``inputs`` takes a batch size and draws one batch of arguments from torch's global generator; ``cnn`` tells
    convolutional networks, of which more precision is asked, from the rest.
    """

    build: Callable[[], nn.Module]
    inputs: Callable[[int], tuple[Any, ...] | dict[str, Any]]
    cnn: bool


def of_images(build: Callable[[], nn.Module], size: int, cnn: bool = True) -> Entry:
    return Entry(build=build, inputs=lambda batch: (smooth(batch, 3, size, size),), cnn=cnn)


GALLERY: Mapping[str, Entry] = MappingProxyType(
    {
        "resnet": of_images(ResNet, 64),
        "mobilenet_v2": of_images(partial(MobileNetV2, classes=10, width=0.25, repeats=2, stages=5), 64),
        "mobilenet_v3": of_images(MobileNetV3, 64),
        "efficientnet": of_images(EfficientNet, 64),
        "shufflenet_v2": of_images(ShuffleNetV2, 64),
        "densenet": of_images(DenseNet, 64),
        "inception": of_images(Inception, 64),
        "squeezenet": of_images(SqueezeNet, 64),
        "regnet": of_images(RegNet, 64),
        "hrnet": of_images(HRNet, 32),
        "repvgg": of_images(RepVGG, 64),
        "unet": of_images(UNet, 34),
        "yolo": of_images(Yolo, 64),
        "convnext": of_images(ConvNeXt, 64),
        "vit": of_images(VisionTransformer, 32, cnn=False),
        "swin": of_images(SwinTransformer, 32, cnn=False),
        "mlp_mixer": of_images(MlpMixer, 32, cnn=False),
        "lstm_tagger": Entry(build=LSTMTagger, inputs=lambda batch: (tokens(batch, 12, 200),), cnn=False),
        "audio": Entry(build=AudioNet, inputs=lambda batch: (waves(batch, 2048),), cnn=True),
        "video": Entry(build=VideoResNet, inputs=lambda batch: (smooth(batch, 3, 8, 32, 32),), cnn=True),
        "pointnet": Entry(build=PointNet, inputs=lambda batch: (clouds(batch, 64),), cnn=False),
        "two_tower": Entry(build=TwoTower, inputs=visits, cnn=False),
        "text_transformer": Entry(build=TextTransformer, inputs=lambda batch: (tokens(batch, 24, 200),), cnn=False),
    }
)


def trained(entry: Entry, seed: int = 0) -> nn.Module:
    """The network with the statistics of a trained one, in eval mode; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = entry.build()
        settle(model, entry.inputs)
    return model
