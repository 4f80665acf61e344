"""Which values share their qparams: an op that only moves or averages values joins output and inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import fx

from fxq_core.matching import Candidate
from fxq_core.signatures import clamp_bounds
from fxq_core.spellings import CLAMP_LIKE
from fxq_core.types import QParams


@dataclass(slots=True)
class Groups:
    """The values of one graph that get qparams, in groups that share them.

    ``of`` maps a value to its group, ``fixed`` a group to qparams that its op prescribes, and ``sources``
    the values whose ranges make up a group's range to that group. ``bounds`` are the limits that all
    sources of a group are clamped to, infinite where one is not.
    """

    of: dict[fx.Node, int] = field(default_factory=dict)
    fixed: dict[int, QParams] = field(default_factory=dict)
    sources: dict[fx.Node, int] = field(default_factory=dict)
    bounds: dict[int, tuple[float, float]] = field(default_factory=dict)


def group_values(chosen: dict[fx.Node, Candidate]) -> Groups:
    """Group the inputs and outputs of the matches, given in graph order."""
    parent: dict[fx.Node, fx.Node] = {}
    fixed: dict[fx.Node, QParams] = {}

    def root(node: fx.Node) -> fx.Node:
        parent.setdefault(node, node)
        while parent[node] is not node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for output, candidate in chosen.items():
        match = candidate.match
        if match.pattern.weight_only:
            continue
        roots = dict.fromkeys(map(root, match.inputs))
        own = root(output)
        if candidate.lowering.output is not None:
            fixed[own] = candidate.lowering.output
        elif match.pattern.shares_qparams:
            # an op with fixed qparams keeps them: a concatenation converts that operand
            joined = [r for r in roots if r not in fixed] if len(roots) > 1 else list(roots)
            for other in joined[1:]:
                parent[other] = joined[0]
            if joined:
                parent[own] = joined[0]

    groups = Groups()
    numbers: dict[fx.Node, int] = {}
    for node in parent:
        groups.of[node] = numbers.setdefault(root(node), len(numbers))
    groups.fixed = {numbers[root(node)]: qparams for node, qparams in fixed.items()}
    for node, group in groups.of.items():
        producer = chosen.get(node)
        shares = producer is not None and producer.match.pattern.shares_qparams
        inside = producer is not None and all(groups.of[value] == group for value in producer.match.inputs)
        if group not in groups.fixed and not (shares and inside):
            groups.sources[node] = group
            low, high = _bounds(producer)
            old = groups.bounds.get(group, (low, high))
            groups.bounds[group] = (min(low, old[0]), max(high, old[1]))
    return groups


def _bounds(producer: Candidate | None) -> tuple[float, float]:
    """The limits of the clamp-like op that a value comes out of."""
    if producer is not None:
        match = producer.match
        spelling = type(match.modules[-1]) if match.modules[-1] is not None else match.output.target
        if spelling in CLAMP_LIKE:
            return clamp_bounds(match.output, match.modules[-1])
    return -math.inf, math.inf
