"""Functional layers whose weights are constants become modules, so that patterns need one spelling of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core import signatures
from fxq_core.capture.graphs import add_module, follow, hold, tensor_at
from fxq_core.capture.values import value_of

TENSORS = ("weight", "bias", "running_mean", "running_var")
NORM_TYPES: dict[int, type[Any]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
INSTANCE_TYPES: dict[int, type[Any]] = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


def to_module(graph_module: fx.GraphModule, node: fx.Node) -> None:
    """Rewrite one functional call to a call of a module that holds the same tensors, if they are all constants."""
    found = signatures.arguments(node, None)
    tensors = {name: tensor_at(graph_module, found.get(name)) for name in TENSORS}
    if any(found.get(name) is not None and tensor is None for name, tensor in tensors.items()):
        return  # computed at run time
    others = [v for k, v in found.items() if k not in tensors and k != "input"]
    if any(isinstance(v, fx.Node) for v in others) or not isinstance(found["input"], fx.Node):
        return
    module = BUILDERS[node.target](found, tensors, value_of(found["input"]).shape)
    if module is None:
        return
    module.eval()
    for name, tensor in tensors.items():
        if hasattr(module, name) and tensor is not None:
            hold(module, name, tensor)
    owner = next((found[n] for n in TENSORS if isinstance(found.get(n), fx.Node)), None)
    path = f"{owner.target}_{node.name}" if owner is not None else node.name
    follow(node, "call_module", add_module(graph_module, path, module), (found["input"],))


Tensors = Mapping[str, "torch.Tensor | None"]
Shape = tuple[int, ...]
Builder = Callable[[Mapping[str, Any], Tensors, Shape], "nn.Module | None"]


def _conv(build: Any, transposed: bool = False) -> Builder:
    extra = ("output_padding",) if transposed else ()

    def conv(found: Mapping[str, Any], tensors: Tensors, shape: Shape) -> nn.Module | None:
        weight = tensors["weight"]
        assert weight is not None
        channels = [weight.shape[1] * found["groups"], weight.shape[0]]
        numbers = {key: found[key] for key in ("stride", "padding", "dilation", "groups", *extra)}
        bias = tensors["bias"] is not None
        module: nn.Module = build(
            *(reversed(channels) if transposed else channels), tuple(weight.shape[2:]),
            **numbers, bias=bias, device="meta",
        )  # fmt: skip
        return module

    return conv


def _linear(found: Mapping[str, Any], tensors: Tensors, shape: Shape) -> nn.Module | None:
    weight = tensors["weight"]
    if weight is None or weight.dim() != 2:
        return None
    return nn.Linear(weight.shape[1], weight.shape[0], bias=tensors["bias"] is not None, device="meta")


def _batch_norm(found: Mapping[str, Any], tensors: Tensors, shape: Shape) -> nn.Module | None:
    mean = tensors["running_mean"]
    if found["training"] or mean is None or len(shape) not in NORM_TYPES or not _affine_or_not(tensors):
        return None
    affine = tensors["weight"] is not None
    norm: nn.Module = NORM_TYPES[len(shape)](mean.numel(), eps=found["eps"], affine=affine)
    return norm


def _instance_norm(found: Mapping[str, Any], tensors: Tensors, shape: Shape) -> nn.Module | None:
    weight = tensors["weight"]
    if not found["use_input_stats"] or len(shape) not in INSTANCE_TYPES or not _affine_or_not(tensors):
        return None
    kind = INSTANCE_TYPES[len(shape)]
    norm: nn.Module = kind(shape[1], eps=found["eps"], affine=weight is not None, device="meta")
    return norm


def _affine_or_not(tensors: Tensors) -> bool:
    return (tensors["weight"] is None) == (tensors["bias"] is None)


def _layer_norm(found: Mapping[str, Any], tensors: Tensors, shape: Shape) -> nn.Module | None:
    affine = tensors["weight"] is not None
    bias = tensors["bias"] is not None
    return nn.LayerNorm(tuple(found["normalized_shape"]), found["eps"], affine, bias, device="meta")


def _group_norm(found: Mapping[str, Any], tensors: Tensors, shape: Shape) -> nn.Module | None:
    weight = tensors["weight"]
    if not _affine_or_not(tensors):
        return None
    channels = found["num_groups"] if weight is None else weight.numel()
    return nn.GroupNorm(found["num_groups"], channels, found["eps"], weight is not None, device="meta")


def _prelu(found: Mapping[str, Any], tensors: Tensors, shape: Shape) -> nn.Module | None:
    weight = tensors["weight"]
    assert weight is not None
    return nn.PReLU(weight.numel(), device="meta")


def _embedding(found: Mapping[str, Any], tensors: Tensors, shape: Shape) -> nn.Module | None:
    weight = tensors["weight"]
    assert weight is not None
    return nn.Embedding(weight.shape[0], weight.shape[1], max_norm=found["max_norm"], device="meta")


BUILDERS: Mapping[Any, Builder] = MappingProxyType(
    {
        F.conv1d: _conv(nn.Conv1d),
        F.conv2d: _conv(nn.Conv2d),
        F.conv3d: _conv(nn.Conv3d),
        F.conv_transpose1d: _conv(nn.ConvTranspose1d, transposed=True),
        F.conv_transpose2d: _conv(nn.ConvTranspose2d, transposed=True),
        F.conv_transpose3d: _conv(nn.ConvTranspose3d, transposed=True),
        F.linear: _linear,
        F.batch_norm: _batch_norm,
        F.instance_norm: _instance_norm,
        F.layer_norm: _layer_norm,
        F.group_norm: _group_norm,
        F.prelu: _prelu,
        F.embedding: _embedding,
    }
)
