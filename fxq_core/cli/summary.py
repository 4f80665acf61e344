"""What a plan comes to, in numbers; and a plan as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import importlib_metadata
from torch import nn

from fxq_core.capture.values import value_of
from fxq_core.cli.inputs import Input
from fxq_core.discovery import CORE
from fxq_core.plan import STRUCTURE, Plan, Verdict

FORMAT = 1
# the types of what nodes compute beside tensors, as when a model asks for a shape
NO_TENSORS = ("int", "float", "bool", "str", "Size", "device", "dtype", "NoneType")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why nodes stay float: the sentence, how many nodes, and their ops, the most frequent ones first."""

    reason: str
    count: int
    ops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A plan in numbers.

    Args:
        int8: the nodes in int8.
        floats: the nodes that compute in float.
        others: the nodes that compute no float tensor: inputs, outputs and constants; sizes, indices and masks.
        parameters: the numbers in the model's parameters.
        int8_parameters: those of them that are weights in int8.
        reasons: why nodes stay float, the most frequent first.
    """

    int8: int
    floats: int
    others: int
    parameters: int
    int8_parameters: int
    reasons: tuple[Reason, ...]


def summarize(plan: Plan, model: nn.Module) -> Summary:
    verdicts = list(_computing(plan))
    floats = [verdict for verdict in verdicts if not verdict.quantized]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Summary(
        len(verdicts) - len(floats),
        len(floats),
        len(plan.verdicts) - len(verdicts),
        parameters,
        min(_int8_weights(plan), parameters),
        _reasons(floats),
    )


def _computing(plan: Plan) -> Iterator[Verdict]:
    """The verdicts on what computes a float tensor, or several of them."""
    for part in plan.parts:
        for node, verdict in zip(part.graph_module.graph.nodes, part.verdicts, strict=True):
            value = value_of(node)
            other = value.kind in NO_TENSORS or (value.dtype is not None and not value.dtype.is_floating_point)
            if node.op not in STRUCTURE and not other:
                yield verdict


def _int8_weights(plan: Plan) -> int:
    """The numbers in the weights that become int8; a weight that is used twice counts once, as parameters do."""
    weights = {}
    for part in plan.parts:
        for node in part.weights:
            for module in part.chosen[node].match.modules:
                weight = getattr(module, "weight", None)
                if isinstance(weight, nn.Parameter):
                    weights[id(weight)] = weight.numel()
    return sum(weights.values())


def _reasons(floats: Sequence[Verdict]) -> tuple[Reason, ...]:
    found: dict[str, dict[str, int]] = {}
    for verdict in floats:
        ops = found.setdefault(verdict.reason, {})
        ops[verdict.op] = ops.get(verdict.op, 0) + 1
    reasons = [
        Reason(reason, sum(ops.values()), tuple(sorted(ops, key=lambda op: (-ops[op], op))))
        for reason, ops in found.items()
    ]
    return tuple(sorted(reasons, key=lambda reason: (-reason.count, reason.reason)))


def as_json(plan: Plan, summary: Summary, target: str, inputs: Sequence[Input]) -> dict[str, Any]:
    """A plan for machines; keys are added, and ``format`` is raised where one changes its meaning or goes."""
    return {
        "format": FORMAT,
        "fxq": importlib_metadata.version(CORE),
        "model": target,
        "inputs": [{"shape": list(given.shape), "dtype": given.dtype} for given in inputs],
        "engine": {"name": plan.engine.name, "provider": str(plan.engine.provider)},
        "summary": {
            "int8": summary.int8,
            "float": summary.floats,
            "other": summary.others,
            "parameters": summary.parameters,
            "int8_parameters": summary.int8_parameters,
            "reasons": [{"reason": r.reason, "count": r.count, "ops": list(r.ops)} for r in summary.reasons],
        },
        "nodes": [
            {
                "part": v.part,
                "node": v.node,
                "module": v.module,
                "op": v.op,
                "verdict": "int8" if v.quantized else "float",
                "pattern": v.pattern,
                "provider": v.provider,
                "reason": v.reason,
                "where": v.where,
            }
            for v in plan.verdicts
        ],
        "notes": [{"module": path, "note": note} for path, note in plan.notes.items()],
        "corrected": list(plan.corrected),
    }
