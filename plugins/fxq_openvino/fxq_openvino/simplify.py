"""Rounding that the graph of a region does without: of what is rounded already, and of what no int8 op takes.

The lowered graph rounds every result to codes. OpenVINO computes an op in int8 where its inputs are rounded; a rounding
that only ops in float take would cost time and precision. What a clamp limits before it is rounded stays limited.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core import families, spellings as s
from fxq_core.capture.graphs import find
from fxq_core.families import SHARED
from fxq_core.reference import fake_quantize

AVERAGES = frozenset().union(
    *(SHARED[name] for name in SHARED if "avg_pool" in name or name in ("mean", "clamp")), {torch.mean}
)
# what gives some of the numbers that it takes, and no others
MOVES: frozenset[Any] = frozenset().union(*SHARED.values(), {"view"}) - AVERAGES
# what is computed in float whatever it takes
IN_FLOAT: frozenset[Any] = frozenset().union(
    *families.OWN_RANGE.values(),
    *(spellings for name, spellings in families.IN_FLOAT.items() if name not in ("matmul", "interpolate")),
    s.DIV,
    s.CLAMP_LIKE,
    {torch.exp, "exp", nn.Softplus, F.softplus},
)


def simplify(graph: fx.Graph, owner: nn.Module) -> None:
    """Take the needless roundings out of the graph of a region, whose modules ``owner`` holds."""
    for node in reversed(graph.nodes):
        if _rounds(node) and not any(_takes_codes(user, owner) for user in node.users):
            _skip(graph, node)
    for node in list(graph.nodes):
        if _rounds(node) and _is_rounded(node.args[0], _group(node), owner):
            _skip(graph, node)


def _rounds(node: fx.Node) -> bool:
    return node.target is fake_quantize


def _group(node: fx.Node) -> Any:
    return getattr(node.args[1], "group", None)


def _skip(graph: fx.Graph, node: fx.Node) -> None:
    source: Any = node.args[0]
    node.replace_all_uses_with(source)
    graph.erase_node(node)


def _spelling(node: fx.Node, owner: nn.Module) -> Any:
    return type(find(owner, str(node.target))) if node.op == "call_module" else node.target


def _takes_codes(user: fx.Node, owner: nn.Module) -> bool:
    """Whether a value must be rounded for one of its users."""
    spelling = _spelling(user, owner)
    if user.op == "output" or spelling in IN_FLOAT:
        return False
    if spelling in MOVES:
        return any(_takes_codes(next_, owner) for next_ in user.users)
    return True


def _is_rounded(value: Any, group: Any, owner: nn.Module) -> bool:
    """Whether a value holds codes of a group already."""
    if not isinstance(value, fx.Node):
        return False
    if _rounds(value):
        return group is not None and _group(value) == group
    sources = [source for source in value.all_input_nodes if not _is_plain(source, owner)]
    return _spelling(value, owner) in MOVES and bool(sources) and all(_is_rounded(v, group, owner) for v in sources)


def _is_plain(node: fx.Node, owner: nn.Module) -> bool:
    """Whether a node asks for sizes, or computes with them."""
    if node.target in ("size", "dim", "numel", "ndimension") or node.target is getattr:
        return True
    inputs = node.all_input_nodes
    return node.op == "call_function" and bool(inputs) and all(_is_plain(source, owner) for source in inputs)
