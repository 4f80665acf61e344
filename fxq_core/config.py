"""The user's settings: what to leave in float, and which observer to use where."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Union

from torch import fx, nn

from fxq_core.capture.graphs import module_path
from fxq_core.errors import ConfigError
from fxq_core.types import Match

# a module path, a glob over paths or a pattern's name; a module type; or a predicate on a match
Selector = Union[str, type[nn.Module], Callable[[Match], bool]]


@dataclass(frozen=True, slots=True)
class Rule:
    """``observer`` finds the ranges of what ``where`` selects."""

    where: Selector
    observer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings for one quantization.

    Args:
        skip: selectors of what stays float. A path also selects everything below it.
        rules: which observer to use for the outputs of what they select.
    """

    skip: tuple[Selector, ...] = ()
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        for name, entry in (("skip", self.skip), ("rules", self.rules)):
            if not isinstance(entry, (tuple, list)):
                raise ConfigError(f"Config({name}=...) takes a tuple, not {entry!r}; write ({entry!r},)")
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise ConfigError(
                    f"Config(rules=...) holds {rule!r}, which is no Rule; write Rule({rule!r}, observer=...)"
                )
        for selector in (*self.skip, *(rule.where for rule in self.rules)):
            if not isinstance(selector, str) and (not callable(selector) or isinstance(selector, nn.Module)):
                raise ConfigError(
                    f"{selector!r} selects nothing: use a path, a glob, a module type, a pattern name or a callable"
                )


@dataclass(slots=True)
class ConfigUse:
    """A config at work in one plan; remembers which selectors had something to select."""

    config: Config
    used: set[int] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    patterns: set[str] = field(default_factory=set)

    def skips(self, part: str, match: Match) -> str | None:
        """Why the user wants this match in float, or None."""
        # every selector is asked, so that each that selects something is known to
        hits = [selector for selector in self.config.skip if self._selects(selector, part, match)]
        for rule in self.config.rules:
            self._selects(rule.where, part, match)
        return f"the config skips {_text(hits[0])}" if hits else None

    def observer(self, part: str, match: Match) -> str | None:
        """The observer that the last rule for this match names, or None."""
        found = None
        for rule in self.config.rules:
            if self._selects(rule.where, part, match):
                found = rule.observer
        return found

    def see(self, part: str, node: fx.Node, module: nn.Module | None) -> None:
        """Note a node: a selector of what is float anyway is no mistake."""
        path = module_path(part, node)
        self.paths.add(path)
        for selector in self._selectors():
            if (isinstance(selector, str) and _covers(selector, path)) or selector is type(module):
                self.used.add(id(selector))

    def check(self) -> None:
        """Refuse a config with a selector that selected nothing.

        Raises:
            ConfigError: naming the selector and what is spelled like it.
        """
        for selector in self._selectors():
            if id(selector) not in self.used:
                known = sorted(filter(None, self.paths | self.patterns))
                near = difflib.get_close_matches(selector, known, n=3) if isinstance(selector, str) else []
                hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "print(plan) shows what there is"
                raise ConfigError(f"the config selects {_text(selector)}, which matches nothing in this model; {hint}")

    def _selectors(self) -> list[Selector]:
        return [*self.config.skip, *(rule.where for rule in self.config.rules)]

    def _selects(self, selector: Selector, part: str, match: Match) -> bool:
        self.patterns.add(match.pattern.name)
        if isinstance(selector, str):
            hit = selector == match.pattern.name or any(_covers(selector, module_path(part, n)) for n in match.nodes)
        elif isinstance(selector, type):
            hit = any(type(module) is selector for module in match.modules)
        else:
            try:
                hit = bool(selector(match))
            except Exception as error:
                raise ConfigError(
                    f"the config's {_text(selector)} failed at node {match.output.name!r} with "
                    f"{type(error).__name__}: {error}"
                ) from error
        if hit:
            self.used.add(id(selector))
        return hit


def _covers(selector: str, path: str) -> bool:
    names = path.split(".")
    return any(fnmatch.fnmatchcase(".".join(names[: depth + 1]), selector) for depth in range(len(names)))


def _text(selector: Any) -> str:
    return repr(selector) if isinstance(selector, str) else getattr(selector, "__name__", repr(selector))
