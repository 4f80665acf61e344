"""Which rules are for the nodes of a match, and which of several wins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import fx, nn

from fxq_core.capture.graphs import module_path
from fxq_core.config.records import Rule
from fxq_core.config.selectors import FUNCTION, PATTERN, TYPE, Rank, Selector, TypeName, path_rank, text
from fxq_core.errors import ConfigError
from fxq_core.types import Match


class Claim(NamedTuple):
    """A rule, by its number and itself, that is for a node of a part, and how specifically."""

    rank: Rank
    number: int
    rule: Rule
    part: str
    node: fx.Node


def claims_on(rules: Sequence[Rule], part: str, match: Match) -> list[Claim]:
    """The rules that are for a match, once for each of its nodes that they are for.

    Raises:
        ConfigError: a function of the user failed.
    """
    claims = []
    for number, rule in enumerate(rules):
        whole = _match_rank(rule.where, match)
        for node, module in zip(match.nodes, match.modules, strict=True):
            rank = rank_of(rule.where, module_path(part, node), module) or whole
            if rank is not None:
                claims.append(Claim(rank, number, rule, part, node))
    return claims


def claims_on_value(rules: Sequence[Rule], part: str, node: fx.Node) -> list[Claim]:
    """The rules whose path is for a value that no match gives, such as an input."""
    ranked = ((number, rule, rank_of(rule.where, module_path(part, node), None)) for number, rule in enumerate(rules))
    return [Claim(rank, number, rule, part, node) for number, rule, rank in ranked if rank is not None]


def rank_of(where: Selector, path: str, module: nn.Module | None) -> Rank | None:
    """How specifically a selector is for a node, by its path or its module; None if it is not."""
    if isinstance(where, str):
        return path_rank(where, path)
    return TYPE if isinstance(where, TypeName) and module is not None and where.selects(type(module)) else None


def _match_rank(where: Selector, match: Match) -> Rank | None:
    """How specifically a selector is for a match as a whole, or None."""
    if isinstance(where, str):
        return PATTERN if where == match.pattern.name else None
    if isinstance(where, TypeName):
        return None
    try:
        return FUNCTION if where(match) else None
    except Exception as error:
        raise ConfigError(
            f"the config's {text(where)} failed at node {match.output.name!r} with {type(error).__name__}: {error}"
        ) from error


def winner(setting: str, claims: Iterable[Claim]) -> Rule | None:
    """The most specific rule that gives a setting, or None.

    Raises:
        ConfigError: two that are equally specific give different values.
    """
    giving = [claim for claim in claims if getattr(claim.rule, setting) is not None]
    if not giving:
        return None
    best = max(giving, key=lambda claim: claim.rank)
    for claim in giving:
        if claim.rank == best.rank and getattr(claim.rule, setting) != getattr(best.rule, setting):
            raise ConfigError(_tie(setting, best, claim))
    return best.rule


def _tie(setting: str, first: Claim, second: Claim) -> str:
    where = _place(first)
    if first.node is not second.node:
        where += f" and {_place(second)}, which share their qparams"
    out = "drop one of them" if first.rank == FUNCTION else "drop one of them, or decide with a more specific rule"
    return f"{first.rule!r} and {second.rule!r} are equally specific but differ in {setting} for {where}; {out}"


def _place(claim: Claim) -> str:
    path = module_path(claim.part, claim.node)
    return f"node {claim.node.name!r}" + (f" of module {path!r}" if path else "")
