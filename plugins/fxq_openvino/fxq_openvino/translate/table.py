"""Which translation serves which spelling of an op."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from openvino import opset15 as op
from torch import nn

from fxq_core import families, spellings as s
from fxq_core.capture.containers import require_pieces
from fxq_core.reference import fake_quantize
from fxq_openvino.translate import elementwise as e, images as i, layers, moves as m
from fxq_openvino.translate.values import UntranslatableError

Translate = Callable[..., Any]


def _families() -> Iterator[tuple[str, Any]]:
    """One translation for all spellings of a built-in pattern."""
    yield from {
        "add": e.binary(op.add, operator.add),
        "sub": e.binary(op.subtract, operator.sub),
        "mul": e.binary(op.multiply, operator.mul),
        "sigmoid": e.unary(op.sigmoid),
        "tanh": e.unary(op.tanh),
        "hardsigmoid": e.unary(op.hsigmoid),
        "hardswish": e.unary(op.hswish),
        "leaky_relu": e.leaky_relu,
        "layer_norm": e.layer_norm,
        "group_norm": e.group_norm,
        "instance_norm": e.instance_norm,
        "matmul": layers.matmul,
        "softmax": e.over(op.softmax),
        "silu": e.unary(op.swish),
        "gelu": e.gelu,
        "prelu": e.prelu,
        "elu": e.elu,
        "mish": e.unary(op.mish),
        "interpolate": i.interpolate,
        "mean": e.reduction(op.reduce_mean),
        "amax": e.reduction(op.reduce_max),
        "amin": e.reduction(op.reduce_min),
        "cat": m.cat,
        "stack": m.stack,
        "getitem": m.getitem,
        "flatten": m.flatten,
        "unflatten": m.unflatten,
        "reshape": m.reshape,
        "contiguous": m.identity,
        "permute": m.permute,
        "squeeze": m.squeeze,
        "unsqueeze": m.unsqueeze,
        "roll": m.roll,
        "flip": m.flip,
        "pixel_shuffle": i.pixel_shuffle,
        "pixel_unshuffle": i.pixel_unshuffle,
        "channel_shuffle": i.channel_shuffle,
        "batch_norm1d": layers.batch_norm,
        "batch_norm2d": layers.batch_norm,
        "batch_norm3d": layers.batch_norm,
        **{f"max_pool{dims}d": i.max_pool(dims) for dims in (1, 2, 3)},
        **{f"avg_pool{dims}d": i.avg_pool(dims) for dims in (1, 2, 3)},
        **{f"adaptive_avg_pool{dims}d": i.adaptive_avg_pool(dims) for dims in (1, 2, 3)},
    }.items()


def _spellings() -> Iterator[tuple[Any, Translate]]:
    known = {
        **families.CLAMPED, **families.OWN_RANGE, **families.IN_FLOAT, **families.SHARED,
    }  # fmt: skip
    for name, translate in _families():
        for spelling in known[name]:
            yield spelling, translate
    for spelling in families.SHARED["identity"] - {"float"}:
        yield spelling, m.dropout if "dropout" in getattr(spelling, "__name__", "") else m.identity
    for spellings, translate in (
        ({"view"}, m.reshape),
        ({"float"}, m.to_float),
        (s.RELU, e.unary(op.relu)),
        (s.RELU6, e.relu6),
        (s.HARDTANH, e.hardtanh),
        (s.CLAMP, e.clamp),
        (s.CLAMP_MIN, e.clamp_min),
        (s.CLAMP_MAX, e.clamp_max),
        (s.DIV, e.binary(op.divide, operator.truediv)),
        ({operator.floordiv}, e.binary(_no_quotient, operator.floordiv)),
        ({operator.pow, torch.pow, "pow", "__pow__"}, e.power),
        ({torch.exp, "exp"}, e.unary(op.exp)),
        ({torch.sqrt, "sqrt"}, e.unary(op.sqrt)),
        ({torch.abs, "abs"}, e.unary(op.abs)),
        ({torch.neg, "neg", operator.neg}, e.unary(op.negative)),
        ({nn.Softplus, F.softplus}, e.softplus),
        ({nn.LogSoftmax, F.log_softmax, torch.log_softmax, "log_softmax"}, e.over(op.log_softmax)),
        # a check of what the graph was captured with, which is made when a model is built
        ({require_pieces}, require_pieces),
        ({torch.sum, "sum"}, e.reduction(op.reduce_sum)),
        ({torch.narrow, "narrow"}, m.narrow),
        ({torch.select, "select"}, m.select),
        ({torch.index_select, "index_select"}, m.index_select),
        ({torch.chunk, "chunk"}, m.chunk),
        ({torch.split, "split"}, m.split),
        ({torch.split_with_sizes, "split_with_sizes"}, m.split_with_sizes),
        ({torch.tensor_split, "tensor_split"}, m.tensor_split),
        ({torch.unbind, "unbind"}, m.unbind),
        ({torch.transpose, torch.swapaxes, torch.swapdims, "transpose", "swapaxes", "swapdims", "t"}, m.transpose),
        ({torch.movedim, torch.moveaxis, "movedim", "moveaxis"}, m.movedim),
        ({torch.broadcast_to, "broadcast_to", "expand"}, m.expand),
        ({"expand_as"}, m.expand_as),
        ({torch.tile, "tile", "repeat"}, m.repeat),
        ({torch.repeat_interleave, "repeat_interleave"}, m.repeat_interleave),
        ({F.pad}, i.pad),
        ({nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d}, i.pad_module("constant")),
        ({nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d}, i.pad_module("constant")),
        ({nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d}, i.pad_module("reflect")),
        ({nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d}, i.pad_module("replicate")),
        ({nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d}, i.pad_module("circular")),
        ({F.scaled_dot_product_attention}, layers.attention),
        ({F.linear, nn.Linear}, layers.linear),
        ({F.conv1d, F.conv2d, F.conv3d, nn.Conv1d, nn.Conv2d, nn.Conv3d}, layers.convolution),
        ({fake_quantize}, layers.fake_quantize),
        ({"size"}, m.size),
        ({getattr}, m.attribute),
        ({"dim", "ndimension"}, m.rank),
        ({"numel"}, m.numel),
    ):  # fmt: skip
        for spelling in spellings:
            yield spelling, translate


def _no_quotient(first: Any, second: Any) -> Any:
    raise UntranslatableError("it rounds its quotient")


TABLE: Mapping[Any, Translate] = MappingProxyType(dict(_spellings()))
