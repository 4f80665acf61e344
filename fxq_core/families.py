"""The families of built-in patterns, by name, with every way to write the op of each.

All ops of a family are planned and lowered alike, so an op that fits one is a line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core import spellings as s
from fxq_core.types import QParams

Family = Mapping[str, Set[Any]]

# the conversions at the borders between float and int8, lowered like any op; no graph spells them
BORDERS = (QUANTIZE, DEQUANTIZE, CONSTANT) = ("quantize", "dequantize", "constant")

# layers and sums, which a clamp-like op may end; the function forms of layers match too, so that a weight that is
# computed at run time is refused with a reason
CLAMPED: Family = MappingProxyType(
    {
        "conv1d": {nn.Conv1d, F.conv1d},
        "conv2d": {nn.Conv2d, F.conv2d},
        "conv3d": {nn.Conv3d, F.conv3d},
        "conv_transpose1d": s.CONV_TRANSPOSE1D,
        "conv_transpose2d": s.CONV_TRANSPOSE2D,
        "conv_transpose3d": s.CONV_TRANSPOSE3D,
        "linear": {nn.Linear, F.linear},
        "add": s.ADD,
        "sub": s.SUB,
        "mul": s.MUL,
        "batch_norm1d": {nn.BatchNorm1d},
        "batch_norm2d": {nn.BatchNorm2d},
        "batch_norm3d": {nn.BatchNorm3d},
    }
)

# the output has a range of its own
OWN_RANGE: Family = MappingProxyType(
    {
        "sigmoid": {nn.Sigmoid, F.sigmoid, torch.sigmoid, "sigmoid"},
        "tanh": {nn.Tanh, F.tanh, torch.tanh, "tanh"},
        "hardsigmoid": {nn.Hardsigmoid, F.hardsigmoid},
        "hardswish": {nn.Hardswish, F.hardswish},
        "leaky_relu": s.LEAKY_RELU,
        "layer_norm": {nn.LayerNorm, F.layer_norm},
        "group_norm": {nn.GroupNorm, F.group_norm},
        "instance_norm": {nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d},
    }
)

# likewise, but without integer arithmetic, or with a kernel for codes that is slower than the one for floats between
# two conversions: so engines compute it in float
IN_FLOAT: Family = MappingProxyType(
    {
        "matmul": s.MATMUL,
        "softmax": s.SOFTMAX,
        "silu": {nn.SiLU, F.silu},
        "gelu": {nn.GELU, F.gelu},
        "prelu": {nn.PReLU},
        "elu": s.ELU,
        "interpolate": s.INTERPOLATE,
        "mish": {nn.Mish, F.mish},
    }
)

# the output keeps the qparams of the input
SHARED: Family = MappingProxyType(
    {
        "max_pool1d": {nn.MaxPool1d, F.max_pool1d, torch.max_pool1d},
        "max_pool2d": {nn.MaxPool2d, F.max_pool2d, torch.max_pool2d},
        "max_pool3d": {nn.MaxPool3d, F.max_pool3d, torch.max_pool3d},
        "avg_pool1d": {nn.AvgPool1d, F.avg_pool1d, torch.avg_pool1d},
        "avg_pool2d": s.AVG_POOL2D,
        "avg_pool3d": s.AVG_POOL3D,
        "adaptive_avg_pool1d": {nn.AdaptiveAvgPool1d, F.adaptive_avg_pool1d, torch.adaptive_avg_pool1d},
        "adaptive_avg_pool2d": {nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d},
        "adaptive_avg_pool3d": {nn.AdaptiveAvgPool3d, F.adaptive_avg_pool3d},
        "mean": s.MEAN,
        "amax": {torch.amax, "amax"},
        "amin": {torch.amin, "amin"},
        "clamp": s.CLAMP_LIKE,
        "cat": s.CAT,
        "stack": s.STACK,
        "chunk": s.CHUNK,
        "getitem": s.GETITEM,
        "narrow": {torch.narrow, torch.select, torch.index_select, "narrow", "select", "index_select"},
        "flatten": {nn.Flatten, torch.flatten, "flatten"},
        "unflatten": {nn.Unflatten, torch.unflatten, "unflatten"},
        "reshape": {torch.reshape, "reshape"},
        "contiguous": {"contiguous"},
        "permute": {torch.permute, "permute"},
        "transpose": {
            torch.transpose,
            torch.swapaxes,
            torch.swapdims,
            torch.movedim,
            torch.moveaxis,
            "transpose",
            "swapaxes",
            "swapdims",
            "movedim",
            "moveaxis",
            "t",
        },
        "squeeze": {torch.squeeze, "squeeze"},
        "unsqueeze": {torch.unsqueeze, "unsqueeze"},
        "expand": {torch.broadcast_to, "expand", "expand_as", "broadcast_to"},
        "repeat": {torch.repeat_interleave, torch.tile, "repeat", "repeat_interleave", "tile"},
        "roll": {torch.roll, "roll"},
        "flip": {torch.flip, "flip"},
        "pad": {F.pad, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d},
        "pad_copies": {
            F.pad,
            nn.ReflectionPad1d,
            nn.ReflectionPad2d,
            nn.ReflectionPad3d,
            nn.ReplicationPad1d,
            nn.ReplicationPad2d,
            nn.ReplicationPad3d,
            nn.CircularPad1d,
            nn.CircularPad2d,
            nn.CircularPad3d,
        },
        "interpolate_nearest": s.INTERPOLATE,
        "pixel_shuffle": {nn.PixelShuffle, F.pixel_shuffle},
        "pixel_unshuffle": s.PIXEL_UNSHUFFLE,
        "channel_shuffle": {nn.ChannelShuffle, F.channel_shuffle},
        "identity": {
            nn.Identity,
            nn.Dropout,
            nn.Dropout1d,
            nn.Dropout2d,
            nn.Dropout3d,
            nn.AlphaDropout,
            nn.FeatureAlphaDropout,
            F.dropout,
            F.dropout1d,
            F.dropout2d,
            F.dropout3d,
            F.alpha_dropout,
            F.feature_alpha_dropout,
            "detach",
            "clone",
            "float",
            torch.clone,
        },
    }
)

# numbers that are looked up: nothing but the weight can be int8
WEIGHT_ONLY: Family = MappingProxyType({"embedding": {nn.Embedding}, "embedding_bag": {nn.EmbeddingBag}})

# output qparams that an op prescribes, whatever the data: the range of its mathematics in 256 codes
UNIT = QParams(1 / 256, 0, 0, 255)
FIXED: Mapping[str, QParams] = MappingProxyType(
    {"sigmoid": UNIT, "hardsigmoid": UNIT, "tanh": QParams(2 / 256, 128, 0, 255)}
)
