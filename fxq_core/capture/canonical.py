"""One form per op: layers are modules with numbers for paddings, views are reshapes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core.capture.functional import BUILDERS, to_module
from fxq_core.capture.graphs import add_module, follow, hold, sizes_of
from fxq_core.capture.values import FLOAT_ONLY, value_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def canonicalize(graph_module: fx.GraphModule) -> None:
    """Rewrite the ops of a graph to the form that patterns are written for, in place; results stay the same."""
    for node in list(graph_module.graph.nodes):
        if node.op == "call_function" and node.target in BUILDERS:
            to_module(graph_module, node)
    calls: dict[str, list[fx.Node]] = defaultdict(list)
    for node in graph_module.graph.nodes:
        if node.op == "call_module" and type(graph_module.get_submodule(str(node.target))) in CONVOLUTIONS:
            calls[str(node.target)].append(node)
    for path, nodes in calls.items():
        _pad_in_numbers(graph_module, path, nodes)


def views_to_reshapes(graph_module: fx.GraphModule) -> None:
    """The int8 neighbours may use another memory layout, in which a view would fail."""
    for node in graph_module.graph.nodes:
        # a view that is written through must stay one
        if node.op == "call_method" and node.target == "view" and FLOAT_ONLY not in node.meta:
            _view_to_reshape(node)


def _view_to_reshape(node: fx.Node) -> None:
    if not node.kwargs and not any(isinstance(size, torch.dtype) for size in sizes_of(node)):
        node.target = "reshape"


def _pad_in_numbers(graph_module: fx.GraphModule, path: str, calls: list[fx.Node]) -> None:
    """Paddings by name become numbers; what a kernel can't pad itself becomes an op of its own.

    All calls of a convolution go on sharing one.
    """
    conv: Any = graph_module.get_submodule(path)
    if conv.padding_mode == "zeros" and not isinstance(conv.padding, str):
        return
    sides = list(conv._reversed_padding_repeated_twice)  # last dimension first, before and after
    within = conv.padding_mode == "zeros" and sides[0::2] == sides[1::2]
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    sources = {node: _input(node) for node in calls}
    batched = [node for node, source in sources.items() if value_of(source).rank == len(conv.kernel_size) + 2]
    if not batched:
        return
    plain = _with_padding(conv, tuple(reversed(sides[0::2])) if within else 0)
    there = add_module(graph_module, path, plain, replace=batched == calls)
    for node in batched:
        source = sources[node]
        if not within:
            with graph_module.graph.inserting_before(node):
                source = graph_module.graph.call_function(F.pad, (source, sides), {"mode": mode})
            source.meta.update(node.meta)
        follow(node, "call_module", there, (source,))


def _input(node: fx.Node) -> fx.Node:
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, fx.Node)
    return source


def _with_padding(conv: Any, padding: Any) -> nn.Module:
    """A convolution with the tensors and hooks of another, but with zeros for padding, in these numbers."""
    # as the op runs: the attributes that only a constructor reads may have been changed since
    outputs, inputs, *kernel_size = conv.weight.shape
    plain: nn.Module = type(conv)(
        inputs * conv.groups, outputs, kernel_size, conv.stride, padding,
        conv.dilation, conv.groups, conv.bias is not None, device="meta",
    ).eval()  # fmt: skip
    hold(plain, "weight", conv.weight)
    hold(plain, "bias", conv.bias)
    plain._forward_hooks, plain._forward_pre_hooks = conv._forward_hooks, conv._forward_pre_hooks
    return plain
