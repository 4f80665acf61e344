"""Arithmetic on float tensors takes two tensors and is addition or multiplication wherever it can be."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from fxq_core import spellings as s
from fxq_core.capture.constants import constant_before
from fxq_core.capture.graphs import follow, tensor_at
from fxq_core.capture.values import KEY, value_of
from fxq_core.signatures import arguments


def simplify_operands(graph_module: fx.GraphModule) -> None:
    """Rewrite arithmetic with constants, in place; results stay the same.

    In ``x + 2``, ``2 - x`` and the like, the number becomes a tensor of shape ``(1,)``. A constant that is subtracted
    is added with the other sign, and one that divides multiplies by its inverse, where these are ordinary numbers.
    ``x.max(dim)[0]`` becomes ``x.amax(dim)``, and ``min`` likewise.
    """
    for node in list(graph_module.graph.nodes):
        if node.op in ("call_function", "call_method"):
            _simplify(graph_module, node)
            _extreme_to_reduction(node)


def _simplify(graph_module: fx.GraphModule, node: fx.Node) -> None:
    if node.target not in s.ADD | s.SUB | s.MUL | s.DIV:
        return
    found = arguments(node, None)
    left, right, target = found["input"], found["other"], node.target
    plain = found["out"] is None and found.get("alpha", 1) == 1 and found.get("rounding_mode") is None
    floats = [v for v in (left, right) if isinstance(v, fx.Node) and value_of(v).is_float]
    if not plain or not floats or not value_of(node).is_float:
        return
    constant = _constant_value(graph_module, right)
    if node.target in s.SUB | s.DIV and constant is not None:
        change, target = (torch.neg, operator.add) if node.target in s.SUB else (torch.reciprocal, operator.mul)
        if not (constant.is_floating_point() if change is torch.neg else _invertible(constant)):
            return  # bytes have no other sign
        right = _changed(graph_module, node, right, change)
    left, right = (_as_tensor(graph_module, node, operand) for operand in (left, right))
    follow(node, "call_method" if isinstance(target, str) else "call_function", target, (left, right))


def _constant_value(graph_module: fx.GraphModule, value: Any) -> torch.Tensor | None:
    return torch.tensor([float(value)]) if _is_number(value) else tensor_at(graph_module, value)


def _invertible(constant: torch.Tensor) -> bool:
    """Whether every inverse is finite and normal, so that a product with it is the quotient within rounding."""
    inverse = torch.reciprocal(constant)
    return bool((inverse.isfinite() & (inverse.abs() >= torch.finfo(inverse.dtype).tiny)).all())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _changed(graph_module: fx.GraphModule, node: fx.Node, operand: Any, change: Any) -> fx.Node:
    """A constant with another sign or inverted; computed once where nothing writes to it, see ``fold_constants``."""
    if not isinstance(operand, fx.Node):
        return _constant(graph_module, node, change(torch.tensor([float(operand)])))
    with node.graph.inserting_before(node):
        changed = node.graph.call_function(change, (operand,))
    changed.meta[KEY] = value_of(operand)
    return changed


def _as_tensor(graph_module: fx.GraphModule, node: fx.Node, operand: Any) -> Any:
    return _constant(graph_module, node, torch.tensor([float(operand)])) if _is_number(operand) else operand


def _constant(graph_module: fx.GraphModule, node: fx.Node, value: torch.Tensor) -> fx.Node:
    return constant_before(graph_module, node, f"{node.name}_constant", value)


def _extreme_to_reduction(node: fx.Node) -> None:
    pieces = node.args[0] if node.args else None
    picks = (node.target is operator.getitem and node.args[1:] == (0,)) or (
        node.target is getattr and node.args[1:] == ("values",)
    )
    if not picks or not isinstance(pieces, fx.Node) or pieces.op not in ("call_function", "call_method"):
        return
    for spellings, reduction in ((s.MAX, torch.amax), (s.MIN, torch.amin)):
        if pieces.target in spellings:
            found = arguments(pieces, None)
            if isinstance(found["dim"], int) and isinstance(found["input"], fx.Node):
                follow(node, "call_function", reduction, (found["input"], found["dim"], found["keepdim"]))
                if not pieces.users:
                    node.graph.erase_node(pieces)
