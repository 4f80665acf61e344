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

CONV_TRANSPOSE1D = {nn.ConvTranspose1d, F.conv_transpose1d}
CONV_TRANSPOSE2D = {nn.ConvTranspose2d, F.conv_transpose2d}
CONV_TRANSPOSE3D = {nn.ConvTranspose3d, F.conv_transpose3d}

ADD = {operator.add, torch.add, "add", "__add__", "__radd__"}
SUB = {operator.sub, torch.sub, torch.subtract, "sub", "subtract", "__sub__"}
MUL = {operator.mul, torch.mul, torch.multiply, "mul", "multiply", "__mul__", "__rmul__"}
DIV = {operator.truediv, torch.div, torch.divide, torch.true_divide, "div", "divide", "true_divide", "__truediv__"}
MATMUL = {operator.matmul, torch.matmul, torch.bmm, "matmul", "bmm", "__matmul__"}
CAT = {torch.cat, torch.concat, torch.concatenate}
STACK = {torch.stack}

LEAKY_RELU = {nn.LeakyReLU, F.leaky_relu}
ELU = {nn.ELU, F.elu}
SOFTMAX = {nn.Softmax, F.softmax, torch.softmax, "softmax"}
INTERPOLATE = {F.interpolate, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d}

AVG_POOL2D = {nn.AvgPool2d, F.avg_pool2d}
AVG_POOL3D = {nn.AvgPool3d, F.avg_pool3d}
MEAN = {torch.mean, "mean"}
MAX = {torch.max, "max"}
MIN = {torch.min, "min"}

GETITEM = {operator.getitem}
CHUNK = {
    torch.chunk, torch.split, torch.split_with_sizes, torch.tensor_split, torch.unbind,
    "chunk", "split", "split_with_sizes", "tensor_split", "unbind",
}  # fmt: skip
PIXEL_UNSHUFFLE = {nn.PixelUnshuffle, F.pixel_unshuffle}
