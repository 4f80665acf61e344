"""Matching: find every place where a pattern stands, reject with reasons, keep a disjoint set.

Candidates are taken longest first, then by priority, then by position; two patterns that are equal in all three
stand on exactly the same nodes, which is an error. So neither registration order nor installation order matters.
"""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from fxq_core.capture.graphs import arguments_of, place
from fxq_core.capture.tracer import own_behaviour
from fxq_core.capture.values import FLOAT_ONLY, REASON, value_of
from fxq_core.discovery import ways_without_one_of
from fxq_core.errors import PluginConflictError, PluginError, any_of, one_line, shown
from fxq_core.registry import Registry
from fxq_core.types import Engine, Lowering, Match, Pattern


@dataclass(frozen=True, slots=True)
class Candidate:
    """A match that the chosen engine can lower."""

    match: Match
    lowering: Lowering


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node is not quantized, and who says so."""

    reason: str
    provider: str


@dataclass(frozen=True, slots=True)
class Matches:
    """The disjoint matches by output node in graph order, and the best-founded refusal for each node that has one."""

    chosen: dict[fx.Node, Candidate]
    refused: dict[fx.Node, Refusal]


def find_matches(
    path: str, graph_module: fx.GraphModule, registry: Registry, engine: Engine, skips: Callable[[Match], str | None]
) -> Matches:
    """Match the patterns that ``engine`` can lower, except where ``skips`` gives a reason not to.

    Args:
        path: where the graph stands in the user's model.

    Raises:
        PluginConflictError: two patterns claim the same nodes with the same priority.
        PluginError: a plugin's ``reject`` failed, and the registry is strict; otherwise the match stays float.
    """
    ask = functools.partial(_ask, path, registry.strict)
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    candidates: list[Candidate] = []
    refused: dict[fx.Node, Refusal] = {}
    last_ops = _by_last_op(registry.patterns.values())
    order = {node: position for position, node in enumerate(graph_module.graph.nodes)}
    for node in graph_module.graph.nodes:
        # the longest first: its refusal is the one to tell when nothing else matches
        for pattern in last_ops.get(_spelling(node, modules), ()):
            for nodes in _chains(pattern, node, modules):
                match = _match(pattern, nodes, modules)
                lowering = registry.lowering(engine, pattern.name)
                refusal = _refusal(match, lowering, engine, skips, ask)
                if refusal is not None:
                    refused.setdefault(node, refusal)
                elif lowering is not None:
                    candidates.append(Candidate(match, lowering))
    return Matches(_disjoint(path, candidates, order), refused)


def _by_last_op(patterns: Iterable[Pattern]) -> dict[Any, list[Pattern]]:
    table: dict[Any, list[Pattern]] = defaultdict(list)
    for pattern in sorted(patterns, key=lambda p: (-len(p.ops), -p.priority, p.name)):
        for spelling in pattern.ops[-1] if pattern.ops else ():
            table[spelling].append(pattern)
    return table


def _spelling(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    """What a pattern would name to match this node: exactly the module's type, the function, or the method."""
    if node.op == "call_module":
        return type(modules[str(node.target)])
    return node.target if node.op in ("call_function", "call_method") else None


def _chains(pattern: Pattern, last: fx.Node, modules: dict[str, nn.Module]) -> Iterator[tuple[fx.Node, ...]]:
    """Every chain of nodes that spells the pattern and ends in ``last``; inner values are floats and have one use."""
    pending: list[tuple[fx.Node, ...]] = [(last,)]
    while pending:
        nodes = pending.pop()
        if len(nodes) == len(pattern.ops):
            yield nodes
            continue
        wanted = pattern.ops[-len(nodes) - 1]
        for source in reversed(nodes[0].all_input_nodes):
            if _spelling(source, modules) in wanted and _one_use(source) and value_of(source).is_float:
                pending.append((source, *nodes))


def _one_use(node: fx.Node) -> bool:
    return len(node.users) == 1 and sum(argument is node for argument in arguments_of(*node.users)) == 1


def _match(pattern: Pattern, nodes: tuple[fx.Node, ...], modules: dict[str, nn.Module]) -> Match:
    inside = set(nodes)
    inputs = [a for node in nodes for a in arguments_of(node) if a not in inside and value_of(a).is_float]
    called = [modules[str(node.target)] if node.op == "call_module" else None for node in nodes]
    return Match(pattern, nodes, tuple(inputs), tuple(called))


def _refusal(
    match: Match,
    lowering: Lowering | None,
    engine: Engine,
    skips: Callable[[Match], str | None],
    ask: Callable[[Pattern | Lowering, Match], str | None],
) -> Refusal | None:
    """Why this match can't be quantized, from the most general reason to the most special."""
    pattern = match.pattern
    if reason := skips(match):
        return Refusal(reason, "the config")
    if reason := _unfit(match) or ask(pattern, match):
        return Refusal(reason, str(pattern.provider))
    if lowering is None:
        return Refusal(f"engine {engine.name!r} has no lowering for pattern {pattern.name!r}", str(engine.provider))
    if reason := ask(lowering, match):
        return Refusal(reason, str(lowering.provider))
    return None


def _ask(path: str, strict: bool, record: Pattern | Lowering, match: Match) -> str | None:
    """What a plugin says against a match; that it fails to say anything is a reason too."""
    try:
        reason = None if record.reject is None else record.reject(match)
        if reason is None:
            return None
        if not isinstance(reason, str) or not reason.strip():
            raise TypeError(f"it returned {shown(reason)}, which is no sentence")
        return " ".join(reason.split())
    except (Exception, SystemExit) as error:
        name = match.pattern.name
        what = f"the {'pattern' if isinstance(record, Pattern) else 'lowering of pattern'} {name!r}"
        if not strict:
            return f"{what} failed to accept or reject it with {one_line(error)}"
        raise PluginError(
            f"{record.provider}: {what} failed to accept or reject {place(path, match.output)} with {one_line(error)}; "
            f"skip the node with Config(skip=({name!r},)) until the plugin is mended"
        ) from error


def _unfit(match: Match) -> str | None:
    """Why nothing could quantize this match, whatever its pattern and engine."""
    for node, module in zip(match.nodes, match.modules, strict=True):
        if module is not None and (own := own_behaviour(module)):
            return own
        if REASON in node.meta:
            return str(node.meta[REASON])
        if not value_of(node).is_float:
            return f"its result is not a float32 tensor: {value_of(node)}"
    for value in match.inputs:
        if FLOAT_ONLY in value.meta:
            return str(value.meta[FLOAT_ONLY])
        if value_of(value).kind == "tensors" and match.nodes[0].target is not operator.getitem:
            return "it takes a tuple of tensors"
    if match.pattern.weight_only:
        return None
    return None if match.inputs else "none of its inputs is a float32 tensor"


def _disjoint(path: str, candidates: list[Candidate], order: dict[fx.Node, int]) -> dict[fx.Node, Candidate]:
    def rank(candidate: Candidate) -> tuple[int, int, tuple[int, ...]]:
        match = candidate.match
        positions = tuple(order[node] for node in match.nodes)
        return -len(match.nodes), -match.pattern.priority, positions

    ranked = sorted(candidates, key=rank)
    taken: set[fx.Node] = set()
    chosen: dict[fx.Node, Candidate] = {}
    for position, candidate in enumerate(ranked):
        if taken.isdisjoint(candidate.match.nodes):
            rival = ranked[position + 1] if position + 1 < len(ranked) else None
            if rival is not None and rank(rival) == rank(candidate):
                raise _conflict(path, candidate.match, rival.match)
            taken.update(candidate.match.nodes)
            chosen[candidate.match.output] = candidate
    return {output: chosen[output] for output in sorted(chosen, key=order.__getitem__)}


def _conflict(path: str, first: Match, second: Match) -> PluginConflictError:
    ours, theirs = first.pattern, second.pattern
    ways = ["give one of them a higher priority", *ways_without_one_of(theirs.provider, ours.provider)]
    return PluginConflictError(
        f"pattern {ours.name!r} of {ours.provider} and pattern {theirs.name!r} of {theirs.provider} both match "
        f"{place(path, first.output)} with priority {ours.priority}: {any_of(ways)}"
    )
