"""Every way to write an operation, once; and what the operation's arguments are called.

In-place forms are not listed: capture rewrites them to the forms here wherever that is safe.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

REQUIRED = object()

# numpy's names, which torch takes too
ALIASES = {"axis": "dim", "x": "input", "keepdims": "keepdim"}

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
BATCH_NORM = {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}

ADD = {operator.add, torch.add, "add", "__add__", "__radd__"}
MUL = {operator.mul, torch.mul, torch.multiply, "mul", "multiply", "__mul__", "__rmul__"}
CAT = {torch.cat, torch.concat, torch.concatenate}

SIGMOID = {nn.Sigmoid, F.sigmoid, torch.sigmoid, "sigmoid"}
TANH = {nn.Tanh, F.tanh, torch.tanh, "tanh"}
HARDSIGMOID = {nn.Hardsigmoid, F.hardsigmoid}
HARDSWISH = {nn.Hardswish, F.hardswish}
SILU = {nn.SiLU, F.silu}
LEAKY_RELU = {nn.LeakyReLU, F.leaky_relu}
ELU = {nn.ELU, F.elu}

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

FLATTEN = {nn.Flatten, torch.flatten, "flatten"}
RESHAPE = {torch.reshape, "reshape"}  # capture turns view into reshape: layouts may differ in int8
CONTIGUOUS = {"contiguous"}
PERMUTE = {torch.permute, "permute"}
TRANSPOSE = {torch.transpose, torch.swapaxes, "transpose", "swapaxes"}
SQUEEZE = {torch.squeeze, "squeeze"}
UNSQUEEZE = {torch.unsqueeze, "unsqueeze"}
IDENTITY = {
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, "detach",
}  # fmt: skip

# what any form of a value can answer
SHAPE_QUERIES = {"size", "dim", "numel", "ndimension"}
SHAPE_ATTRIBUTES = {"shape", "ndim"}

# op -> its arguments in order, with their defaults; modules keep theirs as attributes of the same names
SIGNATURES: tuple[tuple[frozenset[Any], dict[str, Any]], ...] = tuple(
    (frozenset(ops), arguments)
    for ops, arguments in (
        (HARDTANH, {"input": REQUIRED, "min_val": -1.0, "max_val": 1.0}),
        (CLAMP, {"input": REQUIRED, "min": None, "max": None}),
        (CLAMP_MIN, {"input": REQUIRED, "min": None}),
        (CLAMP_MAX, {"input": REQUIRED, "max": None}),
        (
            AVG_POOL2D | AVG_POOL3D,
            {
                "input": REQUIRED, "kernel_size": REQUIRED, "stride": None, "padding": 0, "ceil_mode": False,
                "count_include_pad": True, "divisor_override": None,
            },
        ),
        (ADD, {"input": REQUIRED, "other": REQUIRED, "alpha": 1, "out": None}),
        (MUL, {"input": REQUIRED, "other": REQUIRED, "out": None}),
        (CAT, {"tensors": REQUIRED, "dim": 0}),
        (LEAKY_RELU, {"input": REQUIRED, "negative_slope": 0.01}),
        (ELU, {"input": REQUIRED, "alpha": 1.0}),
        (MEAN, {"input": REQUIRED, "dim": None, "keepdim": False, "dtype": None}),
        (
            {F.batch_norm},
            {
                "input": REQUIRED, "running_mean": REQUIRED, "running_var": REQUIRED, "weight": None,
                "bias": None, "training": False, "momentum": 0.1, "eps": 1e-5,
            },
        ),
        ({F.linear}, {"input": REQUIRED, "weight": REQUIRED, "bias": None}),
        (
            {F.conv1d, F.conv2d, F.conv3d},
            {
                "input": REQUIRED, "weight": REQUIRED, "bias": None, "stride": 1, "padding": 0,
                "dilation": 1, "groups": 1,
            },
        ),
        (
            {F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d},
            {
                "input": REQUIRED, "weight": REQUIRED, "bias": None, "stride": 1, "padding": 0, "output_padding": 0,
                "groups": 1, "dilation": 1,
            },
        ),
        ({F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout},
         {"input": REQUIRED, "p": 0.5, "training": True}),
    )
)  # fmt: skip


def arguments(node: fx.Node, module: nn.Module | None) -> dict[str, Any]:
    """The arguments of one call, by name, however it is spelled.

    Raises:
        KeyError: the op has no entry in ``SIGNATURES``.
    """
    spelling: Any = node.target if module is None else type(module)
    for ops, names in SIGNATURES:
        if spelling in ops:
            if module is not None:
                return {name: getattr(module, name) for name in names if hasattr(module, name)}
            given = {ALIASES.get(name, name): value for name, value in node.kwargs.items()}
            return {**names, **dict(zip(names, node.args, strict=False)), **given}
    raise KeyError(spelling)


def clamp_bounds(node: fx.Node, module: nn.Module | None) -> tuple[Any, Any]:
    """The lowest and highest value that a clamp-like op lets through; a node where it is computed."""
    spelling: Any = node.target if module is None else type(module)
    if spelling in RELU:
        return 0.0, float("inf")
    if spelling in RELU6:
        return 0.0, 6.0
    found = arguments(node, module)
    low = found.get("min_val", found.get("min"))
    high = found.get("max_val", found.get("max"))
    return (float("-inf") if low is None else low), (float("inf") if high is None else high)


def asks_for_shape(node: fx.Node) -> bool:
    """Whether a node asks for no more than the shape of a tensor."""
    if node.op == "call_method":
        return node.target in SHAPE_QUERIES
    return node.op == "call_function" and node.target is getattr and node.args[1] in SHAPE_ATTRIBUTES
