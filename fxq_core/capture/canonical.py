"""One form per layer: functional calls with constant weights become modules, paddings become numbers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fxq_core import spellings
from fxq_core.capture.graphs import add_module, call_count, follow, tensor_at
from fxq_core.capture.values import FLOAT_ONLY, value_of

CONV_TYPES: dict[Any, type[Any]] = {F.conv1d: nn.Conv1d, F.conv2d: nn.Conv2d, F.conv3d: nn.Conv3d}
TRANSPOSED_TYPES: dict[Any, type[Any]] = {
    F.conv_transpose1d: nn.ConvTranspose1d,
    F.conv_transpose2d: nn.ConvTranspose2d,
    F.conv_transpose3d: nn.ConvTranspose3d,
}
NORM_TYPES: dict[int, type[Any]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def bake(root: nn.Module) -> None:
    """Replace parametrizations, weight norms and spectral norms by the constant weights they make."""
    for module in root.modules():
        if parametrize.is_parametrized(module):
            _own_class(module)
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
                constant = module._buffers.pop(name, None)
                if constant is not None:
                    module.register_parameter(name, nn.Parameter(constant.detach().clone(), requires_grad=False))
        hooks: list[Any] = list(module._forward_pre_hooks.values())
        for hook in hooks:
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)


def _own_class(module: nn.Module) -> None:
    """Give a parametrized copy a class of its own: torch changes it, and it is the caller's module's too."""
    shared = type(module)
    members = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, members)


def canonicalize(graph_module: fx.GraphModule) -> None:
    """Rewrite the layers of a graph to their module form, in place; results stay the same."""
    for node in list(graph_module.graph.nodes):
        if node.op == "call_function" and node.target in CONV_TYPES:
            _to_module(graph_module, node, _conv)
        elif node.op == "call_function" and node.target in TRANSPOSED_TYPES:
            _to_module(graph_module, node, _conv_transpose)
        elif node.op == "call_function" and node.target is F.linear:
            _to_module(graph_module, node, _linear)
        elif node.op == "call_function" and node.target is F.batch_norm:
            _to_module(graph_module, node, _batch_norm)
        if node.op == "call_module" and type(graph_module.get_submodule(str(node.target))) in CONV_TYPES.values():
            _pad_in_numbers(graph_module, node)


def _to_module(graph_module: fx.GraphModule, node: fx.Node, build: Any) -> None:
    found = spellings.arguments(node, None)
    tensors = {}
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensors[name] = tensor_at(graph_module, found.get(name))
        if found.get(name) is not None and tensors[name] is None:
            return  # computed at run time
    others = [v for k, v in found.items() if k not in tensors and k != "input"]
    if any(isinstance(v, fx.Node) for v in others) or not isinstance(found["input"], fx.Node):
        return
    module = build(found, tensors, value_of(found["input"]).rank)
    if module is not None:
        with torch.no_grad():
            for name, tensor in tensors.items():
                if tensor is not None:
                    module._parameters.pop(name, None)
                    module._buffers.pop(name, None)
                    # the same tensor object, so that tied weights stay tied
                    kept = isinstance(tensor, nn.Parameter)
                    module.register_parameter(name, tensor) if kept else module.register_buffer(name, tensor)
        owner = found["weight"] if isinstance(found.get("weight"), fx.Node) else found["running_mean"]
        follow(node, "call_module", add_module(graph_module, f"{owner.target}_{node.name}", module), (found["input"],))


def _conv(found: dict[str, Any], tensors: dict[str, Any], rank: int) -> nn.Module | None:
    weight = tensors["weight"]
    groups, kernel = found["groups"], tuple(weight.shape[2:])
    build: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(kernel)]
    numbers = {key: found[key] for key in ("stride", "padding", "dilation")}
    module: nn.Module = build(
        weight.shape[1] * groups, weight.shape[0], kernel, **numbers, groups=groups,
        bias=tensors["bias"] is not None, device="meta",
    )  # fmt: skip
    return module.eval()


def _conv_transpose(found: dict[str, Any], tensors: dict[str, Any], rank: int) -> nn.Module | None:
    weight = tensors["weight"]
    groups, kernel = found["groups"], tuple(weight.shape[2:])
    build: Any = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[len(kernel)]
    numbers = {key: found[key] for key in ("stride", "padding", "output_padding", "dilation")}
    module: nn.Module = build(
        weight.shape[0], weight.shape[1] * groups, kernel, **numbers, groups=groups,
        bias=tensors["bias"] is not None, device="meta",
    )  # fmt: skip
    return module.eval()


def _linear(found: dict[str, Any], tensors: dict[str, Any], rank: int) -> nn.Module | None:
    weight = tensors["weight"]
    if weight.dim() != 2:
        return None
    return nn.Linear(weight.shape[1], weight.shape[0], bias=tensors["bias"] is not None, device="meta").eval()


def _batch_norm(found: dict[str, Any], tensors: dict[str, Any], rank: int) -> nn.Module | None:
    if found["training"] or tensors["running_mean"] is None or rank not in NORM_TYPES:
        return None
    affine = tensors["weight"] is not None and tensors["bias"] is not None
    if not affine and (tensors["weight"] is not None or tensors["bias"] is not None):
        return None
    channels = tensors["running_mean"].numel()
    return NORM_TYPES[rank](channels, eps=found["eps"], affine=affine).eval()  # type: ignore[no-any-return]


def views_to_reshapes(graph_module: fx.GraphModule) -> None:
    """The int8 neighbours may use another memory layout, in which a view would fail."""
    for node in graph_module.graph.nodes:
        # a view that is written through must stay one
        if node.op == "call_method" and node.target == "view" and FLOAT_ONLY not in node.meta:
            _view_to_reshape(node)


def _view_to_reshape(node: fx.Node) -> None:
    sizes = node.args[1:]
    flat = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    if not node.kwargs and not any(isinstance(size, torch.dtype) for size in flat):
        node.target = "reshape"


def _pad_in_numbers(graph_module: fx.GraphModule, node: fx.Node) -> None:
    """Paddings by name become numbers; what a kernel can't pad itself becomes an op of its own."""
    conv: Any = graph_module.get_submodule(str(node.target))
    if conv.padding_mode == "zeros" and not isinstance(conv.padding, str):
        return
    sides = list(conv._reversed_padding_repeated_twice)  # last dimension first, before and after
    within = conv.padding_mode == "zeros" and sides[0::2] == sides[1::2]
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, fx.Node)
    if value_of(source).rank != len(conv.kernel_size) + 2:
        return
    plain = type(conv)(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride,
        tuple(reversed(sides[0::2])) if within else 0,
        conv.dilation, conv.groups, conv.bias is not None, device="meta",
    ).eval()  # fmt: skip
    plain.weight, plain.bias = conv.weight, conv.bias
    plain._forward_hooks, plain._forward_pre_hooks = conv._forward_hooks, conv._forward_pre_hooks
    if not within:
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        with graph_module.graph.inserting_before(node):
            source = graph_module.graph.call_function(F.pad, (source, sides), {"mode": mode})
        source.meta.update(node.meta)
    alone = call_count(graph_module.graph, str(node.target)) == 1
    follow(node, "call_module", add_module(graph_module, str(node.target), plain, replace=alone), (source,))
