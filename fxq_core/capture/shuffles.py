"""A channel shuffle that is spelled as two reshapes around a transposition becomes one op.

As three ops it takes the values out of channels_last and back, which costs more than the shuffle.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import fx

from fxq_core.capture.graphs import sizes_of
from fxq_core.capture.values import FLOAT_ONLY, value_of

RESHAPES = {"view", "reshape", torch.reshape}
FLATTENS = {"flatten", torch.flatten}
SWAPS = {"transpose", "swapaxes", "swapdims", torch.transpose, torch.swapaxes, torch.swapdims}
PERMUTES = {"permute", torch.permute}
COPIES = {"contiguous", "clone", torch.clone}


def shuffles(graph_module: fx.GraphModule) -> None:
    """Rewrite the channel shuffles of a graph, in place; results stay the same."""
    graph = graph_module.graph
    for last in list(graph.nodes):
        chain = _chain(last)
        if chain is None:
            continue
        first = chain[0]
        with graph.inserting_before(last):
            shuffle = graph.call_function(F.channel_shuffle, (first.args[0], value_of(first).shape[1]))
        shuffle.meta = dict(last.meta)
        last.replace_all_uses_with(shuffle)
        for node in reversed(chain):
            _erase(graph, node)


def _chain(last: fx.Node) -> tuple[fx.Node, ...] | None:
    """The nodes of the shuffle that ends here, if one does."""
    copy = _before(last) if last.target in RESHAPES | FLATTENS else None
    swap = _before(copy) if copy is not None and copy.target in COPIES and not copy.kwargs else copy
    first = _before(swap) if swap is not None and _swaps(swap) else None
    if first is None or swap is None or copy is None or first.target not in RESHAPES:
        return None
    image = _before(first, shared=True)
    if image is None or value_of(image).rank != 4 or value_of(last).shape != value_of(image).shape:
        return None
    batch, channels, *size = value_of(image).shape
    sizes, shape = sizes_of(first), value_of(first).shape
    # the number of groups is written down, not computed from the input
    if len(sizes) != 5 or not isinstance(sizes[1], int) or shape != (batch, shape[1], channels // shape[1], *size):
        return None
    chain = (first, swap, last) if copy is swap else (first, swap, copy, last)
    return None if any(FLOAT_ONLY in node.meta for node in chain) else chain


def _before(node: fx.Node, shared: bool = False) -> fx.Node | None:
    """What a node works on, if it is a value that nothing else takes."""
    found = node.args[0] if node.args else None
    return found if isinstance(found, fx.Node) and (shared or len(found.users) == 1) else None


def _swaps(node: fx.Node) -> bool:
    """Whether a node of rank 5 exchanges groups and channels."""
    if node.kwargs or value_of(node).rank != 5:
        return False
    if node.target in SWAPS:
        return set(node.args[1:]) == {1, 2}
    return node.target in PERMUTES and sizes_of(node) == (0, 2, 1, 3, 4)


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    """Erase a node and the sizes that were computed for it."""
    inputs = node.all_input_nodes
    graph.erase_node(node)
    for value in inputs:
        if not value.users and value_of(value).kind in ("int", "Size"):
            _erase(graph, value)
