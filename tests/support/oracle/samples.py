"""What is compared: the samples of the conformance kit, and layers and pools of many shapes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.testing import Sample
from fxq_core.testing.samples import SAMPLES as KIT

COUNT = 6
CONVOLUTIONS: tuple[tuple[type[Any], type[Any]], ...] = (
    (nn.Conv1d, nn.ConvTranspose1d),
    (nn.Conv2d, nn.ConvTranspose2d),
    (nn.Conv3d, nn.ConvTranspose3d),
)
# more channels than one vector has, and a rest; sides of which windows make whole and broken parts
IMAGE = (70, 9, 14)


def convolution(rank: int, transposed: bool, pick: random.Random) -> Sample:
    """A layer of any stride, padding, dilation, groups and bias, and perhaps a clamp."""
    groups = pick.choice((1, 1, 2, 4, 8, 16))
    inside = groups * pick.choice((1, 1, 2))
    outside = groups * pick.choice((1, 1, 2, 3))
    kernel = pick.randint(1, 3)
    stride, dilation, bias = pick.randint(1, 2 if transposed else 3), pick.randint(1, 2), pick.random() < 0.7
    padding = pick.randint(0, dilation * (kernel - 1))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": bias}
    layer = CONVOLUTIONS[rank - 1][transposed](inside, outside, kernel, **geometry)
    sizes = tuple(pick.randint(5, 7 if rank < 3 else 5) for _ in range(rank))
    clamp = pick.choice((nn.Identity, nn.ReLU, nn.ReLU6))()
    name = f"conv{'_transpose' if transposed else ''}{rank}d"
    return Sample(name, nn.Sequential(layer, clamp), (inside, *sizes))


def linear(pick: random.Random) -> Sample:
    layer = nn.Linear(pick.randint(1, 300), pick.randint(1, 40), bias=pick.random() < 0.7)
    return Sample("linear", nn.Sequential(layer, pick.choice((nn.Identity, nn.ReLU))()), (3, layer.in_features))


def pool(function: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: function(x, *args, **kwargs)


def _layers() -> Iterator[tuple[str, Sample]]:
    for number in range(COUNT):
        pick = random.Random(number)
        for rank in (1, 2, 3):
            for transposed in (False, True):
                sample = convolution(rank, transposed, pick)
                yield f"{sample.pattern} of seed {number}", sample
        yield f"linear of seed {number}", linear(pick)


def _pools() -> Iterator[tuple[str, Sample]]:
    for kernel in (2, 3, (2, 7), (3, 5)):
        yield f"avg_pool2d of {kernel}", Sample("avg_pool2d", pool(F.avg_pool2d, kernel), IMAGE)
        how = {"stride": 2, "padding": 1, "ceil_mode": True}
        for inside in (False, True):
            name = f"avg_pool2d of {kernel}, padded{', whole' * inside}"
            yield name, Sample("avg_pool2d", pool(F.avg_pool2d, kernel, **how, count_include_pad=inside), IMAGE)
    for size in ((1, 1), (3, 2), (3, 7), (4, 5)):
        adaptive = pool(F.adaptive_avg_pool2d, size)
        yield f"adaptive_avg_pool2d to {size}", Sample("adaptive_avg_pool2d", adaptive, IMAGE)
    # convolutions give images with the channels last
    for function, size in ((F.avg_pool2d, (3, 2)), (F.avg_pool2d, (2, 7)), (F.adaptive_avg_pool2d, (3, 2))):
        plain = pool(lambda x, function, size: function(x.contiguous(), size), function, size)
        yield f"{function.__name__} of {size}, channels first", Sample(function.__name__, plain, IMAGE)
    for dims in ((2, 3), (-1,), (1,), (1, 2)):
        yield f"mean over {dims}", Sample("mean", lambda x, dims=dims: x.mean(dims, keepdim=True), IMAGE)
    yield "max_pool2d of many channels", Sample("max_pool2d", nn.MaxPool2d(3, 2, 1), IMAGE)


FUSED = {
    "conv silu": Sample("conv2d_silu", nn.Sequential(nn.Conv2d(8, 12, 3), nn.SiLU())),
    "conv hardswish": Sample("conv2d_hardswish", nn.Sequential(nn.Conv2d(8, 12, 3, groups=2), nn.Hardswish())),
    "linear silu": Sample("linear_silu", nn.Sequential(nn.Linear(7, 15), nn.SiLU())),
    "linear hardswish": Sample("linear_hardswish", nn.Sequential(nn.Linear(7, 15), nn.Hardswish())),
    "linear gelu": Sample("linear_gelu", nn.Sequential(nn.Linear(7, 15), nn.GELU())),
    "linear gelu tanh": Sample("linear_gelu", nn.Sequential(nn.Linear(7, 15), nn.GELU("tanh"))),
}


def _seeded() -> dict[str, Sample]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # a table's rows are looked up by numbers that are no codes
        kit = {name: sample for name, sample in KIT.items() if not sample.pattern.startswith("embedding")}
        return {**kit, **dict(_layers()), **dict(_pools()), **FUSED}


SAMPLES: Mapping[str, Sample] = MappingProxyType(_seeded())
