"""What the arguments of an operation are called, however it is spelled."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import fx, nn

from fxq_core import spellings as s
from fxq_core.capture.graphs import ASKS_FOR_SHAPE

REQUIRED = object()

# numpy's names, which torch takes too, and bmm's own
ALIASES = {"axis": "dim", "x": "input", "keepdims": "keepdim", "mat2": "other"}

# what any form of a value can answer
SHAPE_QUERIES = {"size", "dim", "numel", "ndimension"}
SHAPE_ATTRIBUTES = {"shape", "ndim"}

# op -> its arguments in order, with their defaults; modules keep theirs as attributes of the same names
SIGNATURES: tuple[tuple[frozenset[Any], dict[str, Any]], ...] = tuple(
    (frozenset(ops), arguments)
    for ops, arguments in (
        (s.HARDTANH, {"input": REQUIRED, "min_val": -1.0, "max_val": 1.0}),
        (s.CLAMP, {"input": REQUIRED, "min": None, "max": None}),
        (s.CLAMP_MIN, {"input": REQUIRED, "min": None}),
        (s.CLAMP_MAX, {"input": REQUIRED, "max": None}),
        (
            s.AVG_POOL2D | s.AVG_POOL3D,
            {
                "input": REQUIRED, "kernel_size": REQUIRED, "stride": None, "padding": 0, "ceil_mode": False,
                "count_include_pad": True, "divisor_override": None,
            },
        ),
        (s.ADD, {"input": REQUIRED, "other": REQUIRED, "alpha": 1, "out": None}),
        (s.SUB, {"input": REQUIRED, "other": REQUIRED, "alpha": 1, "out": None}),
        (s.MUL | s.MATMUL, {"input": REQUIRED, "other": REQUIRED, "out": None}),
        (s.DIV, {"input": REQUIRED, "other": REQUIRED, "rounding_mode": None, "out": None}),
        (s.MAX | s.MIN, {"input": REQUIRED, "dim": None, "keepdim": False, "out": None}),
        (s.GETITEM, {"input": REQUIRED, "index": REQUIRED}),
        (s.STACK, {"tensors": REQUIRED, "dim": 0}),
        ({F.pad}, {"input": REQUIRED, "pad": REQUIRED, "mode": "constant", "value": None}),
        (
            s.INTERPOLATE,
            {
                "input": REQUIRED, "size": None, "scale_factor": None, "mode": "nearest", "align_corners": None,
                "recompute_scale_factor": None, "antialias": False,
            },
        ),
        (s.SOFTMAX, {"input": REQUIRED, "dim": None, "dtype": None}),
        ({F.layer_norm}, {
            "input": REQUIRED, "normalized_shape": REQUIRED, "weight": None, "bias": None, "eps": 1e-5,
        }),
        ({F.instance_norm}, {
            "input": REQUIRED, "running_mean": None, "running_var": None, "weight": None, "bias": None,
            "use_input_stats": True, "momentum": 0.1, "eps": 1e-5,
        }),
        ({F.prelu}, {"input": REQUIRED, "weight": REQUIRED}),
        ({F.group_norm}, {"input": REQUIRED, "num_groups": REQUIRED, "weight": None, "bias": None, "eps": 1e-5}),
        ({F.embedding}, {
            "input": REQUIRED, "weight": REQUIRED, "padding_idx": None, "max_norm": None, "norm_type": 2.0,
            "scale_grad_by_freq": False, "sparse": False,
        }),
        (s.CAT, {"tensors": REQUIRED, "dim": 0}),
        (s.LEAKY_RELU, {"input": REQUIRED, "negative_slope": 0.01}),
        (s.ELU, {"input": REQUIRED, "alpha": 1.0}),
        (s.PIXEL_UNSHUFFLE, {"input": REQUIRED, "downscale_factor": REQUIRED}),
        (s.MEAN, {"input": REQUIRED, "dim": None, "keepdim": False, "dtype": None}),
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
    if spelling in s.RELU:
        return 0.0, float("inf")
    if spelling in s.RELU6:
        return 0.0, 6.0
    found = arguments(node, module)
    low = found.get("min_val", found.get("min"))
    high = found.get("max_val", found.get("max"))
    return (float("-inf") if low is None else low), (float("inf") if high is None else high)


def asks_for_shape(node: fx.Node) -> bool:
    """Whether a node asks for no more than the shape of a tensor, or the number of several."""
    if node.meta.get(ASKS_FOR_SHAPE):
        return True
    if node.op == "call_method":
        return node.target in SHAPE_QUERIES
    return node.op == "call_function" and node.target is getattr and node.args[1] in SHAPE_ATTRIBUTES
