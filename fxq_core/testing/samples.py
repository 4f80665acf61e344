"""A sample for each built-in pattern and spelling: what an engine is tested with."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.testing.sample import Sample

FEATURES, VECTORS, VOLUMES = (8,), (8, 6), (8, 4, 4, 4)


def pooled(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 2)


def shuffled(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=1)
    return torch.cat([second, F.relu(first)], 1)


class Product(nn.Module):
    """The product of two layers' outputs: a lone one of a value with itself costs less in float."""

    def __init__(self, layer: nn.Module, product: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.product = layer, product

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x, self.layer(x).transpose(-1, -2))


class Looked(nn.Module):
    """The first rows of a table for each item of a batch; that no rounding changes which."""

    def __init__(self, table: nn.Module) -> None:
        super().__init__()
        self.table = table

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.table(x.flatten(2).argmax(-1) * 0 + torch.arange(8))
        return rows


def settled(norm: Any) -> nn.Module:
    """A batch norm whose statistics and weight are not where they started."""
    norm.running_mean.copy_(torch.linspace(-0.5, 0.5, norm.num_features))
    norm.running_var.copy_(torch.linspace(0.5, 2, norm.num_features))
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    return norm  # type: ignore[no-any-return]


def spatial_mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3), keepdim=True)


def _samples() -> dict[str, Sample]:
    return {
        "conv relu": Sample("conv2d_clamp", F.relu),
        "conv relu method": Sample("conv2d_clamp", lambda x: x.relu()),
        "conv relu in place": Sample("conv2d_clamp", lambda x: x.relu_()),
        "conv relu6": Sample("conv2d_clamp", nn.ReLU6()),
        "conv hardtanh": Sample("conv2d_clamp", nn.Hardtanh(-0.2, 0.3)),
        "conv clamp": Sample("conv2d_clamp", lambda x: x.clamp(-0.1, 0.2)),
        "conv clamp min": Sample("conv2d_clamp", lambda x: torch.clamp(x, min=-0.1)),
        "conv1d relu": Sample("conv1d_clamp", torch.relu, VECTORS),
        "conv3d relu": Sample("conv3d_clamp", torch.relu, VOLUMES),
        "conv_transpose1d": Sample("conv_transpose1d", nn.ConvTranspose1d(8, 4, 3, 2), VECTORS),
        "conv_transpose2d": Sample("conv_transpose2d", nn.ConvTranspose2d(8, 4, 3, 2, output_padding=1)),
        "conv_transpose2d relu": Sample(
            "conv_transpose2d_clamp", nn.Sequential(nn.ConvTranspose2d(8, 4, 2), nn.ReLU())
        ),
        "add": Sample("add", lambda x: x + F.relu(x)),
        "add itself": Sample("add", lambda x: operator.add(x, x)),
        "add in place": Sample("add", lambda x: F.relu(x).add_(x)),
        "add relu": Sample("add_clamp", lambda x: torch.add(x, F.hardswish(x)).relu()),
        "add broadcast": Sample("add", lambda x: x.add(spatial_mean(x))),
        "mul": Sample("mul", lambda x: x * F.relu(x)),
        "mul broadcast": Sample("mul", lambda x: spatial_mean(x).sigmoid() * x),
        "mul relu": Sample("mul_clamp", lambda x: torch.mul(x, F.hardswish(x)).relu()),
        "cat": Sample("cat", lambda x: torch.cat([x, F.leaky_relu(x)], 1)),
        "cat with relu": Sample("cat", lambda x: torch.cat([F.relu(x), F.leaky_relu(x)], 1)),
        "cat with sigmoid": Sample("cat", lambda x: torch.concat((x, torch.sigmoid(x)), -1)),
        "cat of batches": Sample("cat", lambda x: torch.cat([x, x, x])),
        "max_pool1d": Sample("max_pool1d", nn.MaxPool1d(2), VECTORS),
        "max_pool2d": Sample("max_pool2d", nn.MaxPool2d(3, 2, 1)),
        "max_pool2d ceil": Sample("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
        "max_pool3d": Sample("max_pool3d", nn.MaxPool3d(2), VOLUMES),
        "avg_pool1d": Sample("avg_pool1d", nn.AvgPool1d(2), VECTORS),
        "avg_pool2d": Sample("avg_pool2d", nn.AvgPool2d(3, 2, 1)),
        "avg_pool2d ceil": Sample("avg_pool2d", nn.AvgPool2d(3, 2, ceil_mode=True)),
        "avg_pool2d without pad": Sample("avg_pool2d", nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        "avg_pool3d": Sample("avg_pool3d", nn.AvgPool3d(2), VOLUMES),
        "adaptive_avg_pool1d": Sample("adaptive_avg_pool1d", nn.AdaptiveAvgPool1d(2), VECTORS),
        "adaptive_avg_pool2d": Sample("adaptive_avg_pool2d", nn.AdaptiveAvgPool2d(1)),
        "adaptive_avg_pool2d uneven": Sample("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (2, 3))),
        "adaptive_avg_pool3d": Sample("adaptive_avg_pool3d", nn.AdaptiveAvgPool3d(1), VOLUMES),
        "mean": Sample("mean", lambda x: x.mean((2, 3))),
        "mean of channels": Sample("mean", lambda x: torch.mean(x, 1, keepdim=True)),
        "mean 1d": Sample("mean", lambda x: x.mean(-1), VECTORS),
        "flatten": Sample("flatten", nn.Flatten()),
        "flatten method": Sample("flatten", lambda x: x.flatten(2)),
        "reshape": Sample("reshape", lambda x: x.reshape(x.shape[0], 8, 42)),
        "view": Sample("reshape", lambda x: x.view(x.size(0), 8 * 42)),
        "permute": Sample("permute", lambda x: x.permute(0, 2, 3, 1)),
        "permute, contiguous, view": Sample("contiguous", lambda x: x.permute(0, 2, 3, 1).contiguous().view(-1, 8)),
        "transpose": Sample("transpose", lambda x: x.transpose(1, 2)),
        "unsqueeze": Sample("unsqueeze", lambda x: x.unsqueeze(1)),
        "squeeze": Sample("squeeze", lambda x: torch.squeeze(spatial_mean(x), -1)),
        "dropout": Sample("identity", nn.Dropout()),
        "identity": Sample("identity", nn.Identity()),
        "sigmoid": Sample("sigmoid", nn.Sigmoid()),
        "tanh": Sample("tanh", torch.tanh),
        "hardsigmoid": Sample("hardsigmoid", F.hardsigmoid),
        "hardswish": Sample("hardswish", lambda x: F.hardswish(pooled(x))),
        "silu": Sample("silu", lambda x: F.silu(pooled(x), inplace=True)),
        "leaky_relu": Sample("leaky_relu", nn.LeakyReLU(0.2)),
        "elu": Sample("elu", lambda x: F.elu(x, 0.7)),
        "relu alone": Sample("clamp", lambda x: F.relu(pooled(x))),
        "relu6 alone": Sample("clamp", lambda x: F.relu6(pooled(x))),
        "hardtanh alone": Sample("clamp", lambda x: F.hardtanh(pooled(x), -0.2, 0.2)),
        "clamp_max alone": Sample("clamp", lambda x: torch.clamp_max(pooled(x), 0.1)),
        "relu of a tuple": Sample("clamp", lambda x: F.relu(x.chunk(2, 1)[0])),
        "sub": Sample("sub", lambda x: x - F.hardswish(x)),
        "sub relu": Sample("sub_clamp", lambda x: torch.sub(F.hardswish(x), x).relu()),
        "add a number": Sample("add", lambda x: x + 0.3),
        "add to a number": Sample("add", lambda x: 1 + x),
        "add a number in place": Sample("add", lambda x: F.hardswish(x).add_(-0.5)),
        "subtract a number": Sample("add", lambda x: x - 0.3),
        "subtract from a number": Sample("sub", lambda x: 1 - x),
        "multiply by a number": Sample("mul", lambda x: 0.7 * x),
        "multiply by a negative number": Sample("mul", lambda x: x.mul(-0.7)),
        "divide by a number": Sample("mul", lambda x: x / 3),
        "matmul": Sample("matmul", Product(nn.Conv2d(8, 8, 1), operator.matmul)),
        "bmm": Sample("matmul", Product(nn.Conv1d(8, 8, 1), torch.bmm), VECTORS),
        "softmax": Sample("softmax", lambda x: x.softmax(-1)),
        "softmax module": Sample("softmax", nn.Softmax(1)),
        "gelu": Sample("gelu", nn.GELU()),
        "gelu tanh": Sample("gelu", lambda x: F.gelu(x, approximate="tanh")),
        "prelu": Sample("prelu", nn.PReLU()),
        "prelu of channels": Sample("prelu", nn.PReLU(8, 0.1)),
        "batch_norm1d": Sample("batch_norm1d", nn.Sequential(nn.Hardswish(), settled(nn.BatchNorm1d(8))), VECTORS),
        "batch_norm1d flat": Sample("batch_norm1d", nn.Sequential(nn.Flatten(), settled(nn.BatchNorm1d(48))), VECTORS),
        "batch_norm2d": Sample("batch_norm2d", nn.Sequential(nn.Hardswish(), settled(nn.BatchNorm2d(8)))),
        "batch_norm2d relu": Sample(
            "batch_norm2d_clamp", nn.Sequential(nn.Hardswish(), settled(nn.BatchNorm2d(8)), nn.ReLU())
        ),
        "batch_norm2d relu6": Sample(
            "batch_norm2d_clamp", nn.Sequential(nn.Hardswish(), settled(nn.BatchNorm2d(8)), nn.ReLU6())
        ),
        "batch_norm2d plain": Sample(
            "batch_norm2d", nn.Sequential(nn.Hardswish(), settled(nn.BatchNorm2d(8, affine=False)))
        ),
        "batch_norm3d": Sample("batch_norm3d", nn.Sequential(nn.Hardswish(), settled(nn.BatchNorm3d(8))), VOLUMES),
        "layer_norm": Sample("layer_norm", nn.LayerNorm(7)),
        "layer_norm of two": Sample("layer_norm", nn.LayerNorm((6, 7), elementwise_affine=False)),
        "layer_norm function": Sample("layer_norm", lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (8,))),
        "group_norm": Sample("group_norm", nn.GroupNorm(4, 8)),
        "group_norm function": Sample("group_norm", lambda x: F.group_norm(x, 2)),
        "instance_norm1d": Sample("instance_norm", nn.InstanceNorm1d(8, affine=True), VECTORS),
        "instance_norm2d": Sample("instance_norm", nn.InstanceNorm2d(8)),
        "instance_norm3d": Sample("instance_norm", nn.InstanceNorm3d(8, affine=True), VOLUMES),
        "amax": Sample("amax", lambda x: x.amax(1)),
        "max of a dimension": Sample("amax", lambda x: torch.max(x, 2)[0]),
        "max values": Sample("amax", lambda x: x.max(dim=1, keepdim=True).values),
        "min of a dimension": Sample("amin", lambda x: x.min(1)[0]),
        "stack": Sample("stack", lambda x: torch.stack([x, F.relu(x)], 1)),
        "stack last": Sample("stack", lambda x: torch.stack((F.hardswish(x), x), dim=-1)),
        "slice": Sample("getitem", lambda x: x[:, 1::2, :-1]),
        "pick": Sample("getitem", lambda x: x[:, 3]),
        "new dimension": Sample("getitem", lambda x: x[..., None, :]),
        "slice by shape": Sample("getitem", lambda x: x[:, :, : x.size(2) - 1]),
        "narrow": Sample("narrow", lambda x: x.narrow(1, 2, 4)),
        "select": Sample("narrow", lambda x: torch.select(x, 1, -1)),
        "chunk": Sample("chunk", shuffled),
        "chunk one": Sample("chunk", lambda x: torch.chunk(x, 3, 1)[2]),
        "split": Sample("chunk", lambda x: torch.split(x, 4, 1)[-1]),
        "split sizes": Sample("chunk", lambda x: x.split([3, 5], dim=1)[1]),  # type: ignore[no-untyped-call]
        "unbind": Sample("chunk", lambda x: x.unbind(1)[0]),
        "unflatten": Sample("unflatten", lambda x: x.unflatten(1, (2, 4))),  # type: ignore[no-untyped-call]
        "movedim": Sample("transpose", lambda x: x.movedim(1, -1)),
        "expand": Sample("expand", lambda x: spatial_mean(x).expand(-1, -1, 3, 4)),
        "expand as": Sample("expand", lambda x: spatial_mean(x).expand_as(x)),
        "repeat": Sample("repeat", lambda x: x.repeat(1, 2, 1, 1)),
        "repeat_interleave": Sample("repeat", lambda x: torch.repeat_interleave(x, 2, 1)),
        "roll": Sample("roll", lambda x: torch.roll(x, (1, -2), (2, 3))),
        "flip": Sample("flip", lambda x: x.flip(3)),
        "pad": Sample("pad", lambda x: F.pad(x, (1, 2, 0, 1))),
        "pad module": Sample("pad", nn.ZeroPad2d((1, 0, 2, 1))),
        "crop": Sample("pad", lambda x: F.pad(x, (-1, 1))),
        "reflect": Sample("pad_copies", lambda x: F.pad(x, (1, 2, 3, 1), mode="reflect")),
        "reflect 1d": Sample("pad_copies", nn.ReflectionPad1d((2, 1)), VECTORS),
        "replicate": Sample("pad_copies", nn.ReplicationPad2d((1, 2, 0, 1))),
        "circular": Sample("pad_copies", lambda x: F.pad(x, (1, 2, 0, 1), mode="circular")),
        "circular 3d": Sample("pad_copies", lambda x: F.pad(x, (1, 2, 0, 1, 1, 1), mode="circular"), VOLUMES),
        "padding by name": Sample("pad", nn.Conv2d(8, 4, 2, padding="same")),
        "padding by copies": Sample("pad_copies", nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect")),
        "nearest": Sample("interpolate_nearest", lambda x: F.interpolate(x, scale_factor=2)),
        "nearest to a size": Sample("interpolate_nearest", lambda x: F.interpolate(x, (9, 11), mode="nearest-exact")),
        "nearest 1d": Sample("interpolate_nearest", nn.Upsample(scale_factor=2), VECTORS),
        "nearest 3d": Sample("interpolate_nearest", nn.Upsample(scale_factor=2), VOLUMES),
        "bilinear": Sample("interpolate", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")),
        "bilinear module": Sample("interpolate", nn.Upsample((9, 5), mode="bilinear", align_corners=True)),
        "bicubic": Sample("interpolate", lambda x: F.interpolate(x, (9, 9), mode="bicubic", align_corners=False)),
        "pixel_shuffle": Sample("pixel_shuffle", nn.PixelShuffle(2)),
        "pixel_unshuffle": Sample("pixel_unshuffle", lambda x: F.pixel_unshuffle(x[..., :6], 2)),
        "channel_shuffle": Sample("channel_shuffle", nn.ChannelShuffle(4)),
        "mish": Sample("mish", nn.Mish()),
        "clone": Sample("identity", lambda x: x.clone().float()),
        "conv1d": Sample("conv1d", nn.Conv1d(8, 6, 3, padding=1), VECTORS),
        "conv2d": Sample("conv2d", nn.Conv2d(8, 6, 3, 2, 1)),
        "conv2d of groups": Sample("conv2d", nn.Conv2d(8, 12, 3, groups=4, bias=False)),
        "conv2d depthwise": Sample("conv2d", nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)),
        "conv3d": Sample("conv3d", nn.Conv3d(8, 6, 2), VOLUMES),
        "conv_transpose1d relu": Sample(
            "conv_transpose1d_clamp", nn.Sequential(nn.ConvTranspose1d(8, 4, 2), nn.ReLU()), VECTORS
        ),
        "conv_transpose3d": Sample("conv_transpose3d", nn.ConvTranspose3d(8, 4, 2), VOLUMES),
        "conv_transpose3d relu": Sample(
            "conv_transpose3d_clamp", nn.Sequential(nn.ConvTranspose3d(8, 4, 2), nn.ReLU()), VOLUMES
        ),
        "linear": Sample("linear", nn.Linear(8, 6), FEATURES),
        "linear relu": Sample("linear_clamp", nn.Sequential(nn.Linear(8, 6), nn.ReLU()), FEATURES),
        "linear of images": Sample("linear", nn.Linear(7, 9, bias=False)),
        "batch_norm1d relu": Sample(
            "batch_norm1d_clamp", nn.Sequential(nn.Hardswish(), settled(nn.BatchNorm1d(8)), nn.ReLU()), VECTORS
        ),
        "batch_norm3d relu": Sample(
            "batch_norm3d_clamp", nn.Sequential(nn.Hardswish(), settled(nn.BatchNorm3d(8)), nn.ReLU()), VOLUMES
        ),
        "embedding": Sample("embedding", Looked(nn.Embedding(9, 8))),
        "embedding_bag": Sample("embedding_bag", Looked(nn.EmbeddingBag(9, 8)), VECTORS),
    }


def _seeded() -> dict[str, Sample]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _samples()


SAMPLES: Mapping[str, Sample] = MappingProxyType(_seeded())
