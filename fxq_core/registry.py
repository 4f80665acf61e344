"""The registry: every plugin's records, merged into immutable tables; conflicts are errors here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from fxq_core import builtin, discovery
from fxq_core.discovery import Failure, Plugin
from fxq_core.errors import PluginConflictError, PluginError, PluginWarning, warn
from fxq_core.types import Engine, Lowering, ObserverSpec, Pattern

EVERY_PATTERN = "*"
R = TypeVar("R", Engine, Pattern, ObserverSpec, Lowering)


@dataclass(frozen=True, slots=True)
class Registry:
    """What is installed: four tables, and the plugins that failed. ``str()`` says who provides what."""

    engines: Mapping[str, Engine]
    patterns: Mapping[str, Pattern]
    observers: Mapping[str, ObserverSpec]
    lowerings: Mapping[tuple[str, str], Lowering]
    failures: tuple[Failure, ...]

    def lowering(self, engine: Engine, pattern: str) -> Lowering | None:
        """The lowering that serves: the engine's own, else its family's; by name, else for every pattern."""
        for name in (pattern, EVERY_PATTERN):
            for owner in (engine.name, engine.family):
                if (owner, name) in self.lowerings:
                    return self.lowerings[owner, name]
        return None

    def __str__(self) -> str:
        lines = []
        for title in ("engines", "patterns", "observers", "lowerings"):
            lines.append(f"{title}:")
            for key, record in getattr(self, title).items():
                name = key if isinstance(key, str) else f"{key[1]} on {key[0]}"
                lines.append(f"  {name}  ({record.provider})")
        lines += [f"failed: {failure.provider}: {failure.error}" for failure in self.failures]
        return "\n".join(lines)


def load_plugins(plugins: Iterable[Any] = (), block: Iterable[str] = (), strict: bool = False) -> Registry:
    """Discover the installed plugins and merge them with the core's own.

    Args:
        plugins: plugin objects to add to the installed ones, such as modules with hook functions.
        block: names of distributions or entry points to leave out.
        strict: raise at the first plugin that fails, where it is otherwise warned of and left out.

    Raises:
        PluginError: a plugin failed and ``strict`` is set, or a lowering names an unknown pattern.
        PluginConflictError: two plugins provide the same thing with the same priority.
    """
    loaded: list[Plugin] = []
    failures: list[Failure] = []
    given = [discovery.given(plugin) for plugin in plugins]
    for found in (discovery.core(builtin.CorePlugin()), *given, *discovery.find(block)):
        outcome = discovery.load(found)
        if isinstance(outcome, Plugin):
            loaded.append(outcome)
        else:
            failures.append(outcome)
    while orphan := _orphan(loaded):
        plugin, error = orphan
        loaded.remove(plugin)
        failures.append(Failure(plugin.provider, error, error))
    for failure in failures:
        who = f"plugin {failure.provider} (entry point {failure.provider.entry_point!r})"
        message = f"{who} failed to load: {failure.error}"
        if strict:
            raise PluginError(f"{message}; mend it, uninstall it, or block it")
        warn(PluginWarning(f"{message}; everything else works without it"))
    return merge(loaded, failures)


def merge(plugins: Iterable[Plugin], failures: Iterable[Failure] = ()) -> Registry:
    """Merge the records of loaded plugins; the result does not depend on their order."""
    records: dict[str, list[Any]] = {hook: [] for hook in discovery.RECORD_TYPES}
    for plugin in plugins:
        for hook, provided in plugin.records.items():
            records[hook] += provided
    return Registry(
        engines=_table(records["fxq_engines"], lambda e: e.name, "engine {!r}"),
        patterns=_table(records["fxq_patterns"], lambda p: p.name, "pattern {!r}"),
        observers=_table(records["fxq_observers"], lambda o: o.name, "observer {!r}"),
        lowerings=_table(
            records["fxq_lowerings"],
            lambda low: (low.engine, low.pattern),
            "a lowering for engine {0[0]!r} and pattern {0[1]!r}",
        ),
        failures=tuple(failures),
    )


def _table(records: list[R], key: Any, title: str) -> Mapping[Any, R]:
    table: dict[Any, R] = {}
    ranked = sorted(records, key=lambda r: (str(key(r)), -getattr(r, "priority", 0), str(r.provider)))
    for record in ranked:
        first = table.setdefault(key(record), record)
        # only lowerings are alternatives: a pattern's priority ranks its matches, not its definition
        outranked = isinstance(record, Lowering) and isinstance(first, Lowering) and first.priority > record.priority
        if first is not record and not outranked:
            what = title.format(key(record))
            # the core can't be left out, so it is always the other one that can
            other = first if record.provider.dist == discovery.CORE else record
            block = f"block it with load_plugins(block=({other.provider.dist!r},))"
            ways = f"{block}, or give one a higher priority" if isinstance(record, Lowering) else f"or {block}"
            raise PluginConflictError(
                f"{first.provider} and {record.provider} both provide {what}: uninstall one of them, {ways}"
            )
    return MappingProxyType(table)


def _orphan(plugins: list[Plugin]) -> tuple[Plugin, str] | None:
    """The first plugin that lowers a pattern which none of the plugins registers, and what is wrong."""
    patterns = {pattern.name for plugin in plugins for pattern in plugin.records["fxq_patterns"]}
    for plugin in plugins:
        for lowering in plugin.records["fxq_lowerings"]:
            if lowering.pattern not in patterns | {EVERY_PATTERN}:
                near = difflib.get_close_matches(lowering.pattern, sorted(patterns), n=1)
                hint = f"did you mean {near[0]!r}?" if near else "is the plugin that registers it installed?"
                unknown = f"pattern {lowering.pattern!r}, which no plugin registers"
                return plugin, f"a lowering for engine {lowering.engine!r} names {unknown}; {hint}"
    return None
