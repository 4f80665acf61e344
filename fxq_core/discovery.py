"""Discovery: entry points in, attributed records out; each plugin on its own, failures remembered.

find -> sort -> load -> validate. pluggy's own entry-point loader stops at the first failing import
and silently skips a second distribution that reuses an entry-point name, so every plugin gets a
manager of its own here: nothing that one of them does can reach another.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import importlib_metadata
import pluggy
from packaging.utils import canonicalize_name

from fxq_core import hookspecs
from fxq_core.errors import PluginError
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
    blocked = {canonicalize_name(name) for name in block}
    found: dict[Provider, Found] = {}
    for distribution in importlib_metadata.distributions():
        for entry_point in distribution.entry_points.select(group=hookspecs.PROJECT):
            provider = Provider(distribution.name, distribution.version, entry_point.name)
            names = {canonicalize_name(provider.dist), canonicalize_name(provider.entry_point)}
            # the first on sys.path is the one that an import would get
            if not names & blocked and provider not in found:
                found[provider] = Found(provider, entry_point.load)
    return [found[provider] for provider in sorted(found, key=dataclasses.astuple)]


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
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        return Failure(found.provider, line, traceback.format_exc())


def _collect(plugin: Any, provider: Provider) -> dict[str, tuple[Any, ...]]:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name=provider.entry_point)
    manager.check_pending()
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
        records[hook] = tuple(dataclasses.replace(record, provider=provider) for record in yielded)
    return records
