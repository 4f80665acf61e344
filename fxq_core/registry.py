"""The registry: every plugin's records, merged into immutable tables; conflicts are errors here."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from fxq_core import builtin, control, discovery, loading
from fxq_core.discovery import Failure, LeftOut, Plugin
from fxq_core.errors import PluginConflictError, PluginError, PluginWarning, any_of, near_miss, warn
from fxq_core.types import Engine, Lowering, ObserverSpec, Pattern

EVERY_PATTERN = "*"
R = TypeVar("R", Engine, Pattern, ObserverSpec, Lowering)


@dataclass(frozen=True, slots=True)
class Registry:
    """What is installed: four tables, and what became of each plugin. ``str()`` says who provides what.

    ``plugins`` were loaded, the core's own first; ``failures`` could not be; ``left_out`` were not to be. ``strict`` is
    what ``load_plugins`` was given: whether a plugin's function that fails later on raises, or costs only its match.
    """

    engines: Mapping[str, Engine]
    patterns: Mapping[str, Pattern]
    observers: Mapping[str, ObserverSpec]
    lowerings: Mapping[tuple[str, str], Lowering]
    failures: tuple[Failure, ...]
    plugins: tuple[Plugin, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    strict: bool = False

    def lowering(self, engine: Engine, pattern: str) -> Lowering | None:
        """The lowering that serves: the engine's own, else its family's; by name, else for every pattern."""
        for name in (pattern, EVERY_PATTERN):
            for owner in (engine.name, engine.family):
                if (owner, name) in self.lowerings:
                    return self.lowerings[owner, name]
        return None

    def __repr__(self) -> str:
        return f"Registry({', '.join(str(plugin.provider) for plugin in self.plugins)})"

    def __str__(self) -> str:
        lines = []
        for title in ("engines", "patterns", "observers", "lowerings"):
            lines.append(f"{title}:")
            for key, record in getattr(self, title).items():
                name = key if isinstance(key, str) else f"{key[1]} on {key[0]}"
                lines.append(f"  {name}  ({record.provider})")
        lines += [f"left out: {provider}: {reason}" for provider, reason in self.left_out]
        lines += [f"failed: {failure.provider}: {failure.error}" for failure in self.failures]
        return "\n".join(lines)


def load_plugins(
    plugins: Iterable[Any] = (), block: Iterable[str] = (), strict: bool = False, required: Iterable[str] = ()
) -> Registry:
    """Discover the installed plugins and merge them with the core's own.

    A plugin is named by its distribution or by its entry point, however they are spelled. Which are imported, from what
    counts most to what counts least:

    1. ``plugins`` are always loaded, and so is the core's own.
    2. ``block`` leaves out what it names.
    3. The environment variable ``FXQ_DISABLE_PLUGINS=1`` leaves out every installed plugin.
    4. ``FXQ_PLUGINS``, names with commas between them, leaves out every installed plugin that it does not name.
    5. All other installed plugins are imported.

    ``required`` brings none of them back: it is an error if one of those that it names is left out.

    Args:
        plugins: plugin objects to add to the installed ones, such as modules with hook functions.
        block: names of plugins to leave out.
        strict: raise at the first plugin that fails, where it is otherwise warned of and left out; the same holds for
            its functions later on, see ``Registry.strict``.
        required: names of plugins that must be loaded, or this raises.

    Raises:
        PluginError: a plugin that is required is not there; or one failed and ``strict`` is set.
        PluginConflictError: two plugins provide the same thing with the same priority, or have one entry-point name.
    """
    wanted = control.canonical(required, "required")
    chosen, left_out = control.choose(discovery.find(), block)
    discovery.refuse_namesakes(chosen)
    loaded: list[Plugin] = []
    failures: list[Failure] = []
    filters = warnings.filters[:]
    given = [discovery.given(plugin) for plugin in plugins]
    for found in (discovery.core(builtin.CorePlugin()), *given, *chosen):
        outcome = loading.load(found)
        if isinstance(outcome, Plugin):
            loaded.append(outcome)
        else:
            failures.append(outcome)
    while orphan := _orphan(loaded):
        plugin, error = orphan
        loaded = [other for other in loaded if other is not plugin]
        failures.append(Failure(plugin.provider, error, error))
    control.check_required(wanted, [plugin.provider for plugin in loaded], failures, left_out)
    with _filters_as_they_were(filters):
        for failure in failures:
            who = f"plugin {failure.provider} (entry point {failure.provider.entry_point!r})"
            message = f"{who} failed to load: {failure.error}"
            if strict:
                raise PluginError(f"{message}; mend it, uninstall it, or block it")
            warn(PluginWarning(f"{message}; everything else works without it"))
    return merge(loaded, failures, left_out, strict)


@contextlib.contextmanager
def _filters_as_they_were(filters: Sequence[Any]) -> Iterator[None]:
    """Filters that a plugin sets at import hide nothing that is told of other plugins, and make it no error."""
    if warnings.filters == filters:
        yield
        return
    with warnings.catch_warnings():
        warnings.filters[:] = filters  # type: ignore[index]
        yield


def merge(
    plugins: Iterable[Plugin],
    failures: Iterable[Failure] = (),
    left_out: Iterable[LeftOut] = (),
    strict: bool = False,
) -> Registry:
    """Merge the records of loaded plugins; the result does not depend on their order."""
    plugins = tuple(plugins)

    def table(hook: str, key: Any, title: str) -> Any:
        return _table([(r, plugin) for plugin in plugins for r in plugin.records.get(hook, ())], key, title)

    return Registry(
        engines=table("fxq_engines", lambda e: e.name, "engine {!r}"),
        patterns=table("fxq_patterns", lambda p: p.name, "pattern {!r}"),
        observers=table("fxq_observers", lambda o: o.name, "observer {!r}"),
        lowerings=table(
            "fxq_lowerings",
            lambda low: (low.engine, low.pattern),
            "a lowering for engine {0[0]!r} and pattern {0[1]!r}",
        ),
        failures=tuple(failures),
        plugins=plugins,
        left_out=tuple(left_out),
        strict=strict,
    )


def _table(provided: list[tuple[R, Plugin]], key: Any, title: str) -> Mapping[Any, R]:
    table: dict[Any, tuple[R, Plugin]] = {}
    ranked = sorted(provided, key=lambda p: (str(key(p[0])), -getattr(p[0], "priority", 0), str(p[0].provider)))
    for record, plugin in ranked:
        first, owner = table.setdefault(key(record), (record, plugin))
        # only lowerings are alternatives: a pattern's priority ranks its matches, not its definition
        outranked = isinstance(record, Lowering) and isinstance(first, Lowering) and first.priority > record.priority
        if first is not record and not outranked:
            what = title.format(key(record))
            ways = discovery.ways_without_one_of(record.provider, first.provider)
            if isinstance(record, Lowering):
                ways.append("give one a higher priority")
            both = f"{discovery.located(owner)} and {discovery.located(plugin)}"
            raise PluginConflictError(f"{both} both provide {what}: {any_of(ways)}")
    return MappingProxyType({name: record for name, (record, _) in table.items()})


def _orphan(plugins: list[Plugin]) -> tuple[Plugin, str] | None:
    """The first plugin that lowers a pattern which none of the plugins registers, and what is wrong."""
    patterns = {pattern.name for plugin in plugins for pattern in plugin.records["fxq_patterns"]}
    for plugin in plugins:
        for lowering in plugin.records["fxq_lowerings"]:
            if lowering.pattern not in patterns | {EVERY_PATTERN}:
                hint = near_miss(lowering.pattern, sorted(patterns), "is the plugin that registers it installed?")
                unknown = f"pattern {lowering.pattern!r}, which no plugin registers"
                return plugin, f"a lowering for engine {lowering.engine!r} names {unknown}; {hint}"
    return None
