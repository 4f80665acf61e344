"""Loading: one plugin imported, checked and asked for its records; whatever goes wrong stays in here.

Every plugin gets a pluggy manager of its own, so that nothing that one of them does can reach another.
"""

from __future__ import annotations

import dataclasses
import inspect
import time
import traceback
from collections.abc import Iterable
from typing import Any

import pluggy

from fxq_core import compatibility, hookspecs
from fxq_core.discovery import RECORD_TYPES, Failure, Found, Plugin
from fxq_core.errors import PluginError, near_miss, one_line, shown
from fxq_core.types import Lowering, Provider


def load(found: Found, specs: Any = hookspecs) -> Plugin | Failure:
    """Import a plugin, check the core API that it is for and its hooks, and collect its records.

    Args:
        found: what ``discovery`` found.
        specs: where the hookspecs are; a deprecated one warns of each function that implements it.
    """
    start, imported = time.perf_counter(), False
    try:
        plugin = found.load()
        imported = True
        api = compatibility.check_api(plugin, found.provider)
        records = _collect(plugin, found.provider, specs)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin that calls sys.exit() must cost only itself
        # what the loader says is a sentence, which needs no type before it
        text = one_line(error).removeprefix("PluginError: ")
        return Failure(found.provider, text + ("" if imported else compatibility.unmet(found)), traceback.format_exc())
    return Plugin(found.provider, records, api, time.perf_counter() - start, found.file)


def _check_hooks(manager: pluggy.PluginManager, plugin: Any) -> None:
    """Say what is wrong with hook functions before pluggy does, which needs several lines for it."""
    marked = [(name, options) for name in dir(plugin) if (options := manager.parse_hookimpl_opts(plugin, name))]
    if not marked:
        raise PluginError("it has no hook functions; mark them with @fxq_core.hookimpl")
    for name, options in marked:
        hook = options["specname"] or name
        if hook not in RECORD_TYPES:
            hint = near_miss(hook, RECORD_TYPES, f"the hooks are {', '.join(RECORD_TYPES)}")
            raise PluginError(f"there is no hook {hook!r}; {hint}")
        if options["wrapper"] or options["hookwrapper"]:
            raise PluginError(f"hook {hook!r} can't be a wrapper; mark it with @fxq_core.hookimpl alone")
        if arguments := ", ".join(map(repr, inspect.signature(getattr(plugin, name)).parameters)):
            raise PluginError(f"hook {hook!r} takes no arguments, but is defined with {arguments}")


def _collect(plugin: Any, provider: Provider, specs: Any) -> dict[str, tuple[Any, ...]]:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(specs)
    _check_hooks(manager, plugin)
    manager.register(plugin, name=provider.entry_point)
    records = {}
    for hook, expected in RECORD_TYPES.items():
        # not through the hook's own call, which drops the results that are None
        yielded = [r for impl in getattr(manager.hook, hook).get_hookimpls() for r in _call(hook, impl.function)]
        for record in yielded:
            if not isinstance(record, expected):
                kind = expected.__name__
                raise PluginError(f"{hook} yielded {shown(record)}, which is no {kind}; yield {kind} records only")
        said = [_thing(record) for record in yielded]
        if twice := next((thing for thing in said if said.count(thing) > 1), None):
            raise PluginError(f"it provides {twice} twice")
        records[hook] = tuple(dataclasses.replace(record, provider=provider) for record in yielded)
    return records


def _thing(record: Any) -> str:
    """What a record is about, which a plugin may say but once; lowerings of different priorities are alternatives."""
    if isinstance(record, Lowering):
        rank = f" with priority {record.priority}" if record.priority else ""
        return f"a lowering for engine {record.engine!r} and pattern {record.pattern!r}{rank}"
    return f"{type(record).__name__.removesuffix('Spec').lower()} {record.name!r}"


def _call(hook: str, function: Any) -> list[Any]:
    """The records that a hook function yields or returns."""
    try:
        returned = function()
        if isinstance(returned, Iterable):
            return list(returned)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"{hook} raised {one_line(error)}") from error
    kind = RECORD_TYPES[hook].__name__
    raise PluginError(f"{hook} returned {shown(returned)}; yield {kind} records, or return a list of them")
