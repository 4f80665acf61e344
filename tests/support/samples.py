"""One small model per op and spelling, each behind a convolution, since an op without int8 inputs stays float."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class Sample(NamedTuple):
    """``op`` follows a convolution over ``dims`` dimensions; ``pattern`` must claim it."""

    pattern: str
    op: Callable[[torch.Tensor], torch.Tensor]
    dims: int = 2


class Behind(nn.Module):
    """A convolution, then the op of a sample."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self.first = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[sample.dims](5, 7, 1)
        self.op = sample.op

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(self.first(x))


def pooled(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 2)


def spatial_mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3), keepdim=True)


SAMPLES = {
    "conv relu": Sample("conv2d_clamp", F.relu),
    "conv relu method": Sample("conv2d_clamp", lambda x: x.relu()),
    "conv relu in place": Sample("conv2d_clamp", lambda x: x.relu_()),
    "conv relu6": Sample("conv2d_clamp", nn.ReLU6()),
    "conv hardtanh": Sample("conv2d_clamp", nn.Hardtanh(-0.2, 0.3)),
    "conv clamp": Sample("conv2d_clamp", lambda x: x.clamp(-0.1, 0.2)),
    "conv clamp min": Sample("conv2d_clamp", lambda x: torch.clamp(x, min=-0.1)),
    "conv1d relu": Sample("conv1d_clamp", torch.relu, 1),
    "conv3d relu": Sample("conv3d_clamp", torch.relu, 3),
    "conv_transpose1d": Sample("conv_transpose1d", nn.ConvTranspose1d(7, 4, 3, 2), 1),
    "conv_transpose2d": Sample("conv_transpose2d", nn.ConvTranspose2d(7, 4, 3, 2, output_padding=1)),
    "conv_transpose2d relu": Sample("conv_transpose2d_clamp", nn.Sequential(nn.ConvTranspose2d(7, 4, 2), nn.ReLU())),
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
    "max_pool1d": Sample("max_pool1d", nn.MaxPool1d(2), 1),
    "max_pool2d": Sample("max_pool2d", nn.MaxPool2d(3, 2, 1)),
    "max_pool2d ceil": Sample("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
    "max_pool3d": Sample("max_pool3d", nn.MaxPool3d(2), 3),
    "avg_pool1d": Sample("avg_pool1d", nn.AvgPool1d(2), 1),
    "avg_pool2d": Sample("avg_pool2d", nn.AvgPool2d(3, 2, 1)),
    "avg_pool2d ceil": Sample("avg_pool2d", nn.AvgPool2d(3, 2, ceil_mode=True)),
    "avg_pool2d without pad": Sample("avg_pool2d", nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "avg_pool3d": Sample("avg_pool3d", nn.AvgPool3d(2), 3),
    "adaptive_avg_pool1d": Sample("adaptive_avg_pool1d", nn.AdaptiveAvgPool1d(2), 1),
    "adaptive_avg_pool2d": Sample("adaptive_avg_pool2d", nn.AdaptiveAvgPool2d(1)),
    "adaptive_avg_pool2d uneven": Sample("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (2, 3))),
    "adaptive_avg_pool3d": Sample("adaptive_avg_pool3d", nn.AdaptiveAvgPool3d(1), 3),
    "mean": Sample("mean", lambda x: x.mean((2, 3))),
    "mean of channels": Sample("mean", lambda x: torch.mean(x, 1, keepdim=True)),
    "mean 1d": Sample("mean", lambda x: x.mean(-1), 1),
    "flatten": Sample("flatten", nn.Flatten()),
    "flatten method": Sample("flatten", lambda x: x.flatten(2)),
    "reshape": Sample("reshape", lambda x: x.reshape(x.shape[0], 7, 42)),
    "view": Sample("reshape", lambda x: x.view(x.size(0), 7 * 42)),
    "permute": Sample("permute", lambda x: x.permute(0, 2, 3, 1)),
    "permute, contiguous, view": Sample("contiguous", lambda x: x.permute(0, 2, 3, 1).contiguous().view(-1, 7)),
    "transpose": Sample("transpose", lambda x: x.transpose(1, 2)),
    "unsqueeze": Sample("unsqueeze", lambda x: x.unsqueeze(1)),
    "squeeze": Sample("squeeze", lambda x: torch.squeeze(spatial_mean(x), -1)),
    "dropout": Sample("identity", nn.Dropout()),
    "identity": Sample("identity", nn.Identity()),
    "sigmoid": Sample("sigmoid", nn.Sigmoid()),
    "tanh": Sample("tanh", torch.tanh),
    "hardsigmoid": Sample("hardsigmoid", F.hardsigmoid),
    "hardswish": Sample("hardswish", nn.Hardswish()),
    "silu": Sample("silu", nn.SiLU(inplace=True)),
    "leaky_relu": Sample("leaky_relu", nn.LeakyReLU(0.2)),
    "elu": Sample("elu", lambda x: F.elu(x, 0.7)),
    "relu alone": Sample("clamp", lambda x: F.relu(pooled(x))),
    "relu6 alone": Sample("clamp", lambda x: F.relu6(pooled(x))),
    "hardtanh alone": Sample("clamp", lambda x: F.hardtanh(pooled(x), -0.2, 0.2)),
    "clamp_max alone": Sample("clamp", lambda x: torch.clamp_max(pooled(x), 0.1)),
}
