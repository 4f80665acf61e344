"""Discovery: entry points in, attributed records out; each plugin on its own, failures remembered.

find -> sort -> load -> validate. pluggy's own entry-point loader stops at the first failing import
and silently skips a second distribution that reuses an entry-point name, so every plugin gets a
manager of its own here: nothing that one of them does can reach another.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import importlib_metadata
import pluggy
from packaging.utils import canonicalize_name

from fxq_core import hookspecs
from fxq_core.errors import PluginError, one_line
from fxq_core.types import Engine, Lowering, ObserverSpec, Pattern, Provider

CORE = "fxq-core"
RECORD_TYPES: dict[str, type[Any]] = {
    "fxq_engines": Engine,
    "fxq_patterns": Pattern,
    "fxq_observers": ObserverSpec,
    "fxq_lowerings": Lowering,
}


class Found(NamedTuple):
    """An entry point, or an object given by the caller, before it is loaded."""

    provider: Provider
    load: Callable[[], Any]


class Plugin(NamedTuple):
    """What one plugin provides: records by the name of the hook that yielded them."""

    provider: Provider
    records: dict[str, tuple[Any, ...]]


class Failure(NamedTuple):
    """A plugin that could not be loaded: ``error`` in one line, ``traceback`` in full."""

    provider: Provider
    error: str
    traceback: str


def find(block: Iterable[str] = ()) -> list[Found]:
    """Every entry point of group ``fxq``, sorted, except those whose distribution or name is blocked."""
    if isinstance(block, str):
        raise TypeError(f"block takes a tuple of names, not {block!r}; write block=({block!r},)")
    blocked = {canonicalize_name(name) for name in block}
    found: list[Found] = []
    seen: set[str] = set()
    for distribution in importlib_metadata.distributions():
        try:
            entry_points = list(distribution.entry_points.select(group=hookspecs.PROJECT))
            if not entry_points or (name := canonicalize_name(distribution.name)) in seen:
                continue
            version = distribution.version
        except Exception:  # noqa: S112 (a damaged distribution, fxq's or not, costs only itself)
            continue
        # the first on sys.path is the one that an import would get
        seen.add(name)
        for entry_point in entry_points:
            if not {name, canonicalize_name(entry_point.name)} & blocked:
                found.append(Found(Provider(distribution.name, version, entry_point.name), entry_point.load))
    return sorted(found, key=lambda f: dataclasses.astuple(f.provider))


def core(plugin: Any) -> Found:
    """The core's own plugin, which needs no entry point."""
    try:
        version = importlib_metadata.version(CORE)
    except importlib_metadata.PackageNotFoundError:
        version = ""
    return Found(Provider(CORE, version, "core"), lambda: plugin)


def given(plugin: Any) -> Found:
    """A plugin object that the caller holds: a module, a class instance or a namespace."""
    name = getattr(plugin, "__name__", None) or type(plugin).__qualname__
    return Found(Provider(str(name), "", "given"), lambda: plugin)


def load(found: Found) -> Plugin | Failure:
    """Import a plugin, check its hooks and collect its records; whatever goes wrong stays in here."""
    try:
        return Plugin(found.provider, _collect(found.load(), found.provider))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin that calls sys.exit() must cost only itself
        return Failure(found.provider, one_line(error), traceback.format_exc())


def _check_hooks(manager: pluggy.PluginManager, plugin: Any) -> None:
    """Say what is wrong with hook functions before pluggy does, which needs several lines for it."""
    marked = [(name, options) for name in dir(plugin) if (options := manager.parse_hookimpl_opts(plugin, name))]
    if not marked:
        raise PluginError("it has no hook functions; mark them with @fxq_core.hookimpl")
    for name, options in marked:
        hook = options["specname"] or name
        if hook not in RECORD_TYPES:
            near = difflib.get_close_matches(hook, RECORD_TYPES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the hooks are {', '.join(RECORD_TYPES)}"
            raise PluginError(f"there is no hook {hook!r}; {hint}")
        if arguments := ", ".join(map(repr, inspect.signature(getattr(plugin, name)).parameters)):
            raise PluginError(f"hook {hook!r} takes no arguments, but is defined with {arguments}")


def _collect(plugin: Any, provider: Provider) -> dict[str, tuple[Any, ...]]:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    _check_hooks(manager, plugin)
    manager.register(plugin, name=provider.entry_point)
    records = {}
    for hook, expected in RECORD_TYPES.items():
        results = getattr(manager.hook, hook)()
        yielded = [record for result in results for record in result]
        for record in yielded:
            if not isinstance(record, expected):
                raise PluginError(
                    f"{provider}: {hook} yielded {record!r}, which is no {expected.__name__}; "
                    f"yield {expected.__name__} records only"
                )
        names = [getattr(record, "name", None) for record in yielded]
        if twice := next((name for name in names if name is not None and names.count(name) > 1), None):
            raise PluginError(f"it provides {hook[4:-1]} {twice!r} twice")
        records[hook] = tuple(dataclasses.replace(record, provider=provider) for record in yielded)
    return records
