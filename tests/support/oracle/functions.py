"""Ops without weights: the float op in float64, on the exact numbers that codes stand for."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import fx

from support.oracle.call import Call
from support.oracle.codes import Codes


def exact(call: Call) -> torch.Tensor:
    """The result of an op in steps of the output's scale, but for 1 in 2**50; float64, and a tuple in one row."""
    known = {node: _float64(value) for node, value in call.values.items()}

    def load(node: fx.Node) -> Any:
        return known[node]

    for node, module in zip(call.match.nodes, call.match.modules, strict=True):
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), load)
        if module is not None:
            known[node] = copy.deepcopy(module).double()(*args, **kwargs)
        elif node.op == "call_function":
            known[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        else:
            known[node] = getattr(args[0], str(node.target))(*args[1:], **kwargs)
    result = known[call.match.output]
    if isinstance(result, (tuple, list)):
        result = torch.cat([part.flatten() for part in result])
    steps: torch.Tensor = result / call.output.scale
    return steps


def _float64(value: Any) -> Any:
    if isinstance(value, Codes):
        return value.numbers()
    if isinstance(value, tuple) and value and isinstance(value[0], Codes):
        return tuple(item.numbers() for item in value)
    return value
