"""Every spelling that torch.ao configures for a static int8 kernel and that the conformance kit has no sample of."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.testing import Sample
from fxq_core.testing.samples import VECTORS, VOLUMES


class Functional(nn.Module):
    """A layer in its function form, its weight a parameter, as torch.ao wants it."""

    def __init__(self, function: Callable[..., torch.Tensor], *shape: int, relu: bool = False) -> None:
        super().__init__()
        self.function, self.relu = function, relu
        self.weight = nn.Parameter(torch.randn(shape) / shape[1] ** 0.5)
        self.bias = nn.Parameter(torch.randn(shape[0]))
        dims = len(shape) - 2
        # torch.ao needs every argument of a convolution written out, as tuples
        self.geometry = ((1,) * dims, (0,) * dims, (1,) * dims, 1) if dims and "transpose" not in str(function) else ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = self.function(x, self.weight, self.bias, *self.geometry)
        return F.relu(result) if self.relu else result


def normed(layer: nn.Module, norm: nn.Module, *rest: nn.Module) -> nn.Sequential:
    """A layer and a norm whose statistics are not where they started."""
    norm.running_mean.copy_(torch.linspace(-0.5, 0.5, norm.num_features))
    norm.running_var.copy_(torch.linspace(0.5, 2, norm.num_features))
    return nn.Sequential(layer, norm, *rest)


class OfTwo(nn.Module):
    """A function of two branches, and what follows it."""

    def __init__(self, function: Callable[..., torch.Tensor], after: Callable[..., torch.Tensor] | None = None) -> None:
        super().__init__()
        self.function, self.after = function, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = self.function(x, F.hardswish(x))
        return result if self.after is None else self.after(result)


PARITY = {
    "F.conv1d": Sample("conv1d", Functional(F.conv1d, 4, 8, 3), VECTORS),
    "F.conv2d": Sample("conv2d", Functional(F.conv2d, 4, 8, 3, 3)),
    "F.conv3d": Sample("conv3d", Functional(F.conv3d, 4, 8, 2, 2, 2), VOLUMES),
    "F.conv2d, F.relu": Sample("conv2d_clamp", Functional(F.conv2d, 4, 8, 3, 3, relu=True)),
    "F.linear": Sample("linear", Functional(F.linear, 9, 7)),
    "F.linear, F.relu": Sample("linear_clamp", Functional(F.linear, 9, 7, relu=True)),
    "Linear, ReLU": Sample("linear_clamp", nn.Sequential(nn.Linear(7, 9), nn.ReLU())),
    "F.conv_transpose2d": Sample("conv_transpose2d", Functional(F.conv_transpose2d, 8, 8, 2, 2)),
    "Conv1d, BatchNorm1d, ReLU": Sample(
        "conv1d_clamp", normed(nn.Conv1d(8, 6, 3), nn.BatchNorm1d(6), nn.ReLU()), VECTORS
    ),
    "Conv2d, BatchNorm2d": Sample("conv2d", normed(nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6))),
    "Conv3d, BatchNorm3d, ReLU": Sample(
        "conv3d_clamp", normed(nn.Conv3d(8, 6, 2), nn.BatchNorm3d(6), nn.ReLU()), VOLUMES
    ),
    "ConvTranspose2d, BatchNorm2d": Sample("conv_transpose2d", normed(nn.ConvTranspose2d(8, 6, 2), nn.BatchNorm2d(6))),
    "Linear, BatchNorm1d": Sample(
        "linear", nn.Sequential(nn.Flatten(), normed(nn.Linear(48, 6), nn.BatchNorm1d(6))), VECTORS
    ),
    **{
        f"{function.__module__.lstrip('_') or 'torch'}.{function.__name__}, {name}": Sample(
            f"{function.__name__}_clamp", OfTwo(function, after)
        )
        for function in (operator.add, torch.add, operator.mul, torch.mul)
        for name, after in {"ReLU": nn.ReLU(), "F.relu": F.relu, "torch.relu": torch.relu}.items()
    },
    "torch.add": Sample("add", OfTwo(torch.add)),
    "torch.mul": Sample("mul", OfTwo(torch.mul)),
    "torch.matmul": Sample("matmul", lambda x: torch.matmul(x, F.hardswish(x).transpose(2, 3))),
    "BatchNorm3d, ReLU": Sample(
        "batch_norm3d_clamp", nn.Sequential(nn.Hardswish(), nn.BatchNorm3d(8), nn.ReLU()), VOLUMES
    ),
    "ELU": Sample("elu", nn.ELU(0.7)),
    "F.hardswish": Sample("hardswish", F.hardswish),
    "F.leaky_relu": Sample("leaky_relu", lambda x: F.leaky_relu(x, 0.1)),
    "F.dropout": Sample("identity", lambda x: F.dropout(x, training=False)),
    "Hardsigmoid": Sample("hardsigmoid", nn.Hardsigmoid()),
    "torch.sigmoid": Sample("sigmoid", torch.sigmoid),
    "sigmoid": Sample("sigmoid", lambda x: x.sigmoid()),
    "Tanh": Sample("tanh", nn.Tanh()),
    "tanh": Sample("tanh", lambda x: x.tanh()),
    "ReLU6": Sample("clamp", nn.Sequential(nn.MaxPool2d(2), nn.ReLU6())),
    "Hardtanh": Sample("clamp", nn.Sequential(nn.MaxPool2d(2), nn.Hardtanh(-0.3, 0.3))),
    "F.max_pool1d": Sample("max_pool1d", lambda x: F.max_pool1d(x, 2), VECTORS),
    "F.max_pool3d": Sample("max_pool3d", lambda x: F.max_pool3d(x, 2), VOLUMES),
    "F.avg_pool3d": Sample("avg_pool3d", lambda x: F.avg_pool3d(x, 2), VOLUMES),
    "torch.adaptive_avg_pool1d": Sample("adaptive_avg_pool1d", lambda x: torch.adaptive_avg_pool1d(x, 3), VECTORS),
    "F.adaptive_avg_pool3d": Sample("adaptive_avg_pool3d", lambda x: F.adaptive_avg_pool3d(x, 2), VOLUMES),
    "F.pixel_shuffle": Sample("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2)),
    "PixelUnshuffle": Sample("pixel_unshuffle", nn.Sequential(nn.MaxPool2d((1, 2), (1, 1)), nn.PixelUnshuffle(2))),
    "torch.narrow": Sample("narrow", lambda x: torch.narrow(x, 1, 2, 4)),
    "torch.flatten": Sample("flatten", lambda x: torch.flatten(x, 2)),
    "torch.transpose": Sample("transpose", lambda x: torch.transpose(x, 1, 2)),
    "torch.unsqueeze": Sample("unsqueeze", lambda x: torch.unsqueeze(x, 1)),
    "squeeze": Sample("squeeze", lambda x: x.mean(2, keepdim=True).squeeze(2)),
    "detach": Sample("identity", lambda x: x.detach()),
}
