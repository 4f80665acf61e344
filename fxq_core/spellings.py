"""Every way to write an operation, once.

In-place forms are not listed: capture rewrites them to the forms here wherever that is safe.
"""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import nn

RELU = {nn.ReLU, F.relu, torch.relu, "relu"}
RELU6 = {nn.ReLU6, F.relu6}
HARDTANH = {nn.Hardtanh, F.hardtanh}
CLAMP = {torch.clamp, torch.clip, "clamp", "clip"}
CLAMP_MIN = {torch.clamp_min, "clamp_min"}
CLAMP_MAX = {torch.clamp_max, "clamp_max"}
CLAMP_LIKE = RELU | RELU6 | HARDTANH | CLAMP | CLAMP_MIN | CLAMP_MAX

# the function forms match too, so that a weight computed at run time is refused with a reason
CONV1D = {nn.Conv1d, F.conv1d}
CONV2D = {nn.Conv2d, F.conv2d}
CONV3D = {nn.Conv3d, F.conv3d}
CONV_TRANSPOSE1D = {nn.ConvTranspose1d, F.conv_transpose1d}
CONV_TRANSPOSE2D = {nn.ConvTranspose2d, F.conv_transpose2d}
CONV_TRANSPOSE3D = {nn.ConvTranspose3d, F.conv_transpose3d}
LINEAR = {nn.Linear, F.linear}
BATCH_NORM1D, BATCH_NORM2D, BATCH_NORM3D = {nn.BatchNorm1d}, {nn.BatchNorm2d}, {nn.BatchNorm3d}
BATCH_NORM = BATCH_NORM1D | BATCH_NORM2D | BATCH_NORM3D

ADD = {operator.add, torch.add, "add", "__add__", "__radd__"}
SUB = {operator.sub, torch.sub, torch.subtract, "sub", "subtract", "__sub__"}
MUL = {operator.mul, torch.mul, torch.multiply, "mul", "multiply", "__mul__", "__rmul__"}
DIV = {operator.truediv, torch.div, torch.divide, torch.true_divide, "div", "divide", "true_divide", "__truediv__"}
MATMUL = {operator.matmul, torch.matmul, torch.bmm, "matmul", "bmm", "__matmul__"}
CAT = {torch.cat, torch.concat, torch.concatenate}
STACK = {torch.stack}

SIGMOID = {nn.Sigmoid, F.sigmoid, torch.sigmoid, "sigmoid"}
TANH = {nn.Tanh, F.tanh, torch.tanh, "tanh"}
HARDSIGMOID = {nn.Hardsigmoid, F.hardsigmoid}
HARDSWISH = {nn.Hardswish, F.hardswish}
SILU = {nn.SiLU, F.silu}
LEAKY_RELU = {nn.LeakyReLU, F.leaky_relu}
ELU = {nn.ELU, F.elu}
GELU = {nn.GELU, F.gelu}
PRELU = {nn.PReLU}
SOFTMAX = {nn.Softmax, F.softmax, torch.softmax, "softmax"}
LAYER_NORM = {nn.LayerNorm, F.layer_norm}
GROUP_NORM = {nn.GroupNorm, F.group_norm}
INSTANCE_NORM = {nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d}
EMBEDDING = {nn.Embedding}
EMBEDDING_BAG = {nn.EmbeddingBag}
INTERPOLATE = {F.interpolate, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d}

MAX_POOL1D = {nn.MaxPool1d, F.max_pool1d, torch.max_pool1d}
MAX_POOL2D = {nn.MaxPool2d, F.max_pool2d, torch.max_pool2d}
MAX_POOL3D = {nn.MaxPool3d, F.max_pool3d, torch.max_pool3d}
AVG_POOL1D = {nn.AvgPool1d, F.avg_pool1d, torch.avg_pool1d}
AVG_POOL2D = {nn.AvgPool2d, F.avg_pool2d}
AVG_POOL3D = {nn.AvgPool3d, F.avg_pool3d}
ADAPTIVE_AVG_POOL1D = {nn.AdaptiveAvgPool1d, F.adaptive_avg_pool1d, torch.adaptive_avg_pool1d}
ADAPTIVE_AVG_POOL2D = {nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d}
ADAPTIVE_AVG_POOL3D = {nn.AdaptiveAvgPool3d, F.adaptive_avg_pool3d}
MEAN = {torch.mean, "mean"}
AMAX = {torch.amax, "amax"}
AMIN = {torch.amin, "amin"}
MAX = {torch.max, "max"}
MIN = {torch.min, "min"}

FLATTEN = {nn.Flatten, torch.flatten, "flatten"}
RESHAPE = {torch.reshape, "reshape"}  # capture turns view into reshape: layouts may differ in int8
CONTIGUOUS = {"contiguous"}
PERMUTE = {torch.permute, "permute"}
TRANSPOSE = {
    torch.transpose, torch.swapaxes, torch.swapdims, torch.movedim, torch.moveaxis,
    "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t",
}  # fmt: skip
UNFLATTEN = {nn.Unflatten, torch.unflatten, "unflatten"}
GETITEM = {operator.getitem}
NARROW = {torch.narrow, torch.select, torch.index_select, "narrow", "select", "index_select"}
CHUNK = {
    torch.chunk, torch.split, torch.split_with_sizes, torch.tensor_split, torch.unbind,
    "chunk", "split", "split_with_sizes", "tensor_split", "unbind",
}  # fmt: skip
EXPAND = {torch.broadcast_to, "expand", "expand_as", "broadcast_to"}
REPEAT = {torch.repeat_interleave, torch.tile, "repeat", "repeat_interleave", "tile"}
ROLL = {torch.roll, "roll"}
FLIP = {torch.flip, "flip"}
PAD = {F.pad, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d}
PAD_COPIES = {
    F.pad, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d, nn.ReplicationPad1d, nn.ReplicationPad2d,
    nn.ReplicationPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d,
}  # fmt: skip
PIXEL_SHUFFLE = {nn.PixelShuffle, F.pixel_shuffle}
PIXEL_UNSHUFFLE = {nn.PixelUnshuffle, F.pixel_unshuffle}
CHANNEL_SHUFFLE = {nn.ChannelShuffle, F.channel_shuffle}
SQUEEZE = {torch.squeeze, "squeeze"}
UNSQUEEZE = {torch.unsqueeze, "unsqueeze"}
IDENTITY = {
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
    "detach", "clone", "float", torch.clone,
}  # fmt: skip
