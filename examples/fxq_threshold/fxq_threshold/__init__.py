"""Threshold in int8, for every fxq engine that runs torch's quantized ops.

``threshold(x, t, v)`` is ``x`` where ``x > t``, and ``v`` elsewhere. PyTorch has a kernel for it,
``torch.ops.quantized.threshold``, which gives its result the qparams of its input. So the pattern shares them, and only
``v = 0``, which every qparams represent exactly, is right for every input.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core import Lowering, LoweringContext, Match, Pattern, hookimpl

FXQ_API = ">=1,<2"
ARGUMENTS = ("input", "threshold", "value", "inplace")


def arguments(match: Match) -> tuple[Any, Any]:
    """The threshold and the value, however the op is spelled."""
    (node,), (module,) = match.nodes, match.modules
    if module is not None:
        return module.threshold, module.value
    found = {**dict(zip(ARGUMENTS, node.args, strict=False)), **node.kwargs}
    return found["threshold"], found["value"]


def reject(match: Match) -> str | None:
    limit, value = arguments(match)
    if isinstance(limit, fx.Node) or isinstance(value, fx.Node):
        return "its threshold or its value is computed at run time"
    return None if value == 0 else f"it puts {value} in, which may lie out of its input's range"


THRESHOLD = Pattern("threshold", {nn.Threshold, F.threshold, torch.threshold}, shares_qparams=True, reject=reject)


def threshold(x: torch.Tensor, limit: float) -> torch.Tensor:
    """``x`` where ``x > limit``, and 0 elsewhere; a quantized tensor in, one with the same qparams out.

    The kernel dequantizes with a fused multiply-add. Where the limit is the very number that a code stands for, that
    decides some elements one way and some the other. So the limit that it gets lies half-way between two codes: the
    last one that float arithmetic drops and the first one that it keeps.
    """
    scale, zero_point = x.q_scale(), x.q_zero_point()
    values = (torch.arange(256, dtype=torch.float32) - zero_point) * scale
    dropped = int((values <= limit).sum())
    kept: torch.Tensor = torch.ops.quantized.threshold(x, (dropped - 0.5 - zero_point) * scale, 0)
    return kept


def emit(match: Match, ctx: LoweringContext) -> fx.Node:
    limit, _ = arguments(match)
    return ctx.call(threshold, ctx.inputs[0], limit)


@hookimpl
def fxq_patterns() -> Iterator[Pattern]:
    yield THRESHOLD


@hookimpl
def fxq_lowerings() -> Iterator[Lowering]:
    yield Lowering(engine="torch", pattern=THRESHOLD.name, emit=emit)
