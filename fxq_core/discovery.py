"""Discovery: the entry points that are installed, and what becomes of each. Nothing is imported here.

find -> choose -> load -> merge, in ``discovery``, ``control``, ``loading`` and ``registry``. pluggy's own entry-point
loader is not used: it stops at the first failing import and skips a second distribution that reuses an entry-point
name without a word.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import importlib_metadata
from importlib_metadata import EntryPoint
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fxq_core.errors import PluginConflictError, PluginError
from fxq_core.hookspecs import PROJECT
from fxq_core.types import Engine, Lowering, ObserverSpec, Pattern, Provider

CORE = "fxq-core"
# stands for the entry point of a plugin that the caller gives, which has none
GIVEN = "given"
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
    file: str = ""
    distribution: Any = None


class Plugin(NamedTuple):
    """A plugin that was loaded.

    ``records`` are what it provides, by the name of the hook that yielded them; ``api`` is the core API range that it
    states, ``""`` if none; ``seconds`` is how long it took to import it and to call its hooks; ``file`` is where it is.
    """

    provider: Provider
    records: dict[str, tuple[Any, ...]]
    api: str = ""
    seconds: float = 0.0
    file: str = ""


class Failure(NamedTuple):
    """A plugin that could not be loaded: ``error`` in one line, ``traceback`` in full."""

    provider: Provider
    error: str
    traceback: str


class LeftOut(NamedTuple):
    """An installed plugin that was not imported, and why: one of the keys of ``control.REMEDIES``."""

    provider: Provider
    reason: str


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
    return Found(Provider(str(name), "", GIVEN), lambda: plugin, getattr(plugin, "__file__", None) or "")


def names(provider: Provider) -> set[str]:
    """What a plugin is called, canonical: by its distribution, and by its entry point if it has one."""
    called = {provider.dist} if provider.entry_point == GIVEN else {provider.dist, provider.entry_point}
    return {str(canonicalize_name(name)) for name in called}


def find() -> list[Found]:
    """Every entry point of group ``fxq``, sorted; a damaged one fails when it is loaded."""
    # the first on sys.path is the one that an import would get, and of two in one folder the newer
    first: dict[str, tuple[str, Any, list[Found]]] = {}
    for distribution in importlib_metadata.distributions():
        try:
            found = _plugins_of(distribution)
            folder = str(distribution.locate_file(""))
        except Exception:  # noqa: S112 (damaged beyond telling whether it has to do with fxq)
            continue
        if found:
            name, rank = canonicalize_name(found[0].provider.dist), _rank(found[0].provider.version)
            if name not in first or (first[name][0] == folder and first[name][1] < rank):
                first[name] = folder, rank, found
    return sorted((f for _, _, found in first.values() for f in found), key=lambda f: dataclasses.astuple(f.provider))


def refuse_namesakes(found: list[Found]) -> None:
    """Entry points name plugins, so no two may have one name.

    Raises:
        PluginConflictError: naming both distributions, where they are, and the way out.
    """
    owners: dict[str, Found] = {}
    for one in found:
        first = owners.setdefault(canonicalize_name(one.provider.entry_point), one)
        if first is not one:
            raise PluginConflictError(
                f"{located(first)} and {located(one)} both have an entry point {one.provider.entry_point!r}: uninstall "
                f"one of them, or block it with load_plugins(block=({one.provider.dist!r},))"
            )


def located(one: Found | Plugin) -> str:
    """A plugin's distribution, version and file, as conflicts name it."""
    return f"{one.provider} ({one.file})" if one.file else str(one.provider)


def ways_without_one_of(*providers: Provider) -> list[str]:
    """How to do without one of several plugins: the core can't be blocked, nor what the caller gives."""
    for provider in providers:
        if provider.dist != CORE and provider.entry_point != GIVEN:
            return ["uninstall one of them", f"block it with load_plugins(block=({provider.dist!r},))"]
    others = [provider for provider in providers if provider.dist != CORE]
    return [f"leave {others[0]} out of plugins=" if len(others) == 1 else "leave one of them out of plugins="]


def _plugins_of(distribution: Any) -> list[Found]:
    name, version = _identity(distribution)
    again = f"reinstall it with pip install --force-reinstall {name}"
    try:
        points = list(distribution.entry_points.select(group=PROJECT))
    except Exception:
        lines = (distribution.read_text("entry_points.txt") or "").splitlines()
        damage = _fail(f"its entry_points.txt can't be read; {again}")
        return [Found(Provider(name, version, name), damage)] if f"[{PROJECT}]" in map(str.strip, lines) else []
    found: dict[str, Found] = {}
    for point in points:
        called, provider = canonicalize_name(point.name), Provider(name, version, point.name)
        load = point.load if version else _fail(f"its metadata can't be read; {again}")
        if called in found:
            load = _fail(f"it has two entry points {point.name!r}; one of them needs another name")
        found[called] = Found(provider, load, _file(distribution, point), distribution if version else None)
    return list(found.values())


def _identity(distribution: Any) -> tuple[str, str]:
    """A distribution's name and version; where its metadata can't be read, the name of its folder and no version."""
    with contextlib.suppress(Exception):
        if distribution.name and distribution.version:
            return distribution.name, distribution.version
    return canonicalize_name(distribution._normalized_name), ""


def _fail(text: str) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise PluginError(text)

    return fail


def _rank(version: str) -> tuple[bool, Any]:
    try:
        return True, Version(version)
    except InvalidVersion:
        return False, version


def _file(distribution: Any, point: EntryPoint) -> str:
    """Where an import would find a plugin, without importing it; else the folder that it is installed in."""
    folder = Path(str(distribution.locate_file("")))
    path = folder.joinpath(*point.module.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return str(file)
    try:
        spec = importlib.util.find_spec(point.module.partition(".")[0])
    except Exception:
        spec = None
    return spec.origin if spec and spec.origin else str(folder)
