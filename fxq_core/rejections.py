"""Why a match of a built-in pattern can't be int8 on any engine: a sentence, or None."""

from __future__ import annotations

from typing import cast

from torch import nn

from fxq_core import spellings
from fxq_core.capture.graphs import arguments_of
from fxq_core.capture.values import value_of
from fxq_core.types import Match


def reject_conv(match: Match) -> str | None:
    if match.modules[0] is None or len(match.inputs) != 1:
        return "its weight is computed at run time"
    if len(match.nodes[0].args) + len(match.nodes[0].kwargs) > 1:
        return "its output size is given with each call"
    if value_of(match.inputs[0]).rank != cast("nn.Conv2d", match.modules[0]).weight.dim():
        return "its input has no batch dimension; add one with unsqueeze(0)"
    return None


def reject_linear(match: Match) -> str | None:
    if match.modules[0] is None or len(match.inputs) != 1:
        return "its weight is computed at run time"
    if value_of(match.inputs[0]).rank < 2:
        return "its input has no batch dimension; add one with unsqueeze(0)"
    return None


def reject_binary(match: Match) -> str | None:
    found = spellings.arguments(match.nodes[0], None)
    operands = found["input"], found["other"]
    # by identity: nodes have no truth value, and a clamp that follows takes no further input
    if len(match.inputs) != 2 or any(a is not b for a, b in zip(operands, match.inputs, strict=True)):
        return "one of its operands is not a float tensor"
    if found.get("alpha", 1) != 1 or found["out"] is not None:
        return "its alpha or out argument has no int8 form"
    return None


def reject_clamp(match: Match) -> str | None:
    low, high = spellings.clamp_bounds(match.nodes[-1], match.modules[-1])
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        return "its bounds are computed at run time"
    if not low <= 0 <= high:
        return f"the range {low} to {high} of its clamp does not hold 0, which int8 always represents"
    return None


def reject_avg_pool(match: Match) -> str | None:
    divisor = spellings.arguments(match.nodes[0], match.modules[0]).get("divisor_override")
    return None if divisor is None else "its divisor may take the result out of the range of its input"


def reject_mean(match: Match) -> str | None:
    found = spellings.arguments(match.nodes[0], match.modules[0])
    return None if found["dtype"] is None else "it converts to another dtype"


def reject_computed(match: Match) -> str | None:
    """For ops whose other arguments become constants of the int8 op."""
    others = [a for a in arguments_of(match.nodes[0]) if a not in match.inputs]
    return "one of its arguments is computed at run time" if others else None


def reject_cat(match: Match) -> str | None:
    tensors = spellings.arguments(match.nodes[0], None)["tensors"]
    if not isinstance(tensors, (list, tuple)) or len(tensors) != len(match.inputs):
        return "not all of its operands are float tensors"
    return reject_computed(match)


def reject_dropout(match: Match) -> str | None:
    node = match.nodes[0]
    if node.op != "call_function":
        return None
    training = spellings.arguments(node, None)["training"]
    return None if training is False else "it drops values even in eval mode"
