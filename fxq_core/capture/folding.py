"""Batch norm goes into the layer before it, once, so that no pattern and no engine knows of it.

With ``k = gamma / sqrt(var + eps)``: ``weight * k`` per output channel, and ``(bias - mean) * k + beta``
(Jacob et al. 2018, section 3.2), computed in float64.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import fx, nn

from fxq_core.capture.graphs import add_module, hold, prefixes
from fxq_core.capture.tracer import own_behaviour
from fxq_core.capture.values import value_of

FOLDABLE: dict[type[nn.Module], tuple[type[nn.Module], ...]] = {
    nn.BatchNorm1d: (nn.Conv1d, nn.ConvTranspose1d),
    nn.BatchNorm2d: (nn.Conv2d, nn.ConvTranspose2d),
    nn.BatchNorm3d: (nn.Conv3d, nn.ConvTranspose3d),
}
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fold_batch_norms(graph_module: fx.GraphModule) -> dict[str, str]:
    """Fold every batch norm that can be; the others are layers of their own.

    Returns:
        What became of each folded batch norm: a sentence, by its module path.
    """
    folded: dict[str, str] = {}
    calls = Counter(node.target for node in graph_module.graph.nodes if node.op == "call_module")
    # the modules that have more uses than their calls
    used = {path for node in graph_module.graph.nodes if node.op == "get_attr" for path in prefixes(str(node.target))}
    common: dict[tuple[str, str], str] = {}
    for node in list(graph_module.graph.nodes):
        if node.op != "call_module":
            continue
        norm: Any = graph_module.get_submodule(str(node.target))
        if type(norm) not in FOLDABLE:
            continue
        source = node.args[0] if node.args else node.kwargs["input"]
        if not _follows_alone(graph_module, norm, source):
            continue
        pair = source.target, str(node.target)
        if pair not in common:
            shared = calls[source.target] > 1 or source.target in used
            merged = fold(graph_module.get_submodule(source.target), norm)
            path = add_module(graph_module, source.target, merged, replace=not shared)
            if shared:
                common[pair] = path
                used.add(path)
        calls[source.target] -= 1
        source.target = common.get(pair, source.target)
        folded[str(node.target)] = f"folded into {source.target}"
        node.replace_all_uses_with(source)
        graph_module.graph.erase_node(node)
    return folded


def _follows_alone(graph_module: fx.GraphModule, norm: Any, source: Any) -> bool:
    """Whether a batch norm with statistics is all that becomes of the output of a layer it can be folded into."""
    if norm.running_mean is None or norm.running_var is None or own_behaviour(norm):
        return False
    if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
        return False
    layer = graph_module.get_submodule(str(source.target))
    linear = type(layer) is nn.Linear and type(norm) is nn.BatchNorm1d and value_of(source).rank == 2
    return (type(layer) in FOLDABLE[type(norm)] or linear) and not own_behaviour(layer)


def fold(layer: Any, norm: Any) -> nn.Module:
    """A copy of a convolution or linear layer that computes ``norm(layer(x))``."""
    with torch.no_grad():
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight.double()
        bias = layer.bias.double() if layer.bias is not None else torch.zeros_like(scale)
        bias = (bias - norm.running_mean.double()) * scale
        if norm.bias is not None:
            bias = bias + norm.bias.double()
        weight = layer.weight.double().mul_(_by_channel(layer, scale))
        merged: nn.Module = copy.copy(layer)  # the tensors are replaced below, not written to
        merged._parameters, merged._buffers = dict(layer._parameters), dict(layer._buffers)
        hold(merged, "weight", nn.Parameter(weight.to(layer.weight.dtype), requires_grad=False))
        hold(merged, "bias", nn.Parameter(bias.to(layer.weight.dtype), requires_grad=False))
    return merged


def _by_channel(layer: Any, scale: torch.Tensor) -> torch.Tensor:
    """One factor for each output channel, in a shape that the weight can be multiplied with."""
    rest = layer.weight.shape[2:]
    if not isinstance(layer, TRANSPOSED):
        return scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
    # (in, out / groups, ...): the rows of one group of inputs lead to the outputs of that group
    rows = scale.reshape(layer.groups, -1).repeat_interleave(layer.in_channels // layer.groups, 0)
    return rows.reshape(*rows.shape, *[1] * len(rest))
