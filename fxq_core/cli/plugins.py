"""``fxq plugins``: what is installed, what it provides, and what is wrong with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import click

from fxq_core.cli import console
from fxq_core.discovery import Plugin
from fxq_core.registry import Registry

HEADER = ("plugin", "version", "entry point", "api", "state", "provides")
LOWERINGS = "fxq_lowerings"
STYLES = {"loaded": "green", "failed": "red", "left out": "yellow"}


@click.command("plugins")
@click.option("-v", "--verbose", is_flag=True, help="Show names, load times and the tracebacks of failures.")
def command(verbose: bool) -> None:
    """List the installed plugins: what each provides, or why it does not.

    "api" is the range of versions of fxq's plugin interface that a plugin says it is written for. With the
    environment variable FXQ_DISABLE_PLUGINS=1 no installed plugin is imported, and FXQ_PLUGINS=name,name imports only
    those.

    \b
    Examples:
      fxq plugins
      fxq plugins -v

    Exit codes: 0, also if a plugin failed to load, which stderr names; 1 if two plugins are in conflict.
    """
    registry = console.installed()
    console.table(console.rows(HEADER, rows(registry)), STYLES)
    if verbose:
        for plugin in sorted(registry.plugins, key=_order):
            click.echo(f"\n{plugin.provider}: loaded in {plugin.seconds:.3f} s")
            for title, names in _names(plugin):
                click.echo(f"  {title}: {', '.join(names)}")
        for failure in sorted(registry.failures, key=_order):
            click.echo(f"\n{failure.provider}: {failure.error}")
            click.echo("".join(f"  {line}\n" for line in failure.traceback.splitlines()), nl=False)


def rows(registry: Registry) -> Iterator[tuple[str, ...]]:
    """A row for every plugin, in the order of their names."""
    found = [(p.provider, p.api, "loaded", _counts(p)) for p in registry.plugins]
    found += [(f.provider, "", "failed", f.error) for f in registry.failures]
    found += [(o.provider, "", "left out", o.reason) for o in registry.left_out]
    for provider, api, state, what in sorted(found, key=_order):
        yield provider.dist, provider.version, provider.entry_point, api, state, what


def _order(row: tuple[Any, ...]) -> tuple[str, ...]:
    """Plugins, failures and rows are tuples that begin with a provider."""
    return dataclasses.astuple(row[0])


def _names(plugin: Plugin) -> Iterator[tuple[str, list[str]]]:
    """The names of what a plugin provides, by kind; of lowerings the patterns, by the engines that they are for."""
    for hook, records in plugin.records.items():
        if hook != LOWERINGS:
            if records:
                yield hook.removeprefix("fxq_"), [record.name for record in records]
            continue
        patterns: dict[str, list[str]] = {}
        for lowering in records:
            patterns.setdefault(lowering.engine, []).append(lowering.pattern)
        alike: dict[tuple[str, ...], list[str]] = {}
        for engine, names in patterns.items():
            alike.setdefault(tuple(names), []).append(engine)
        for provided, engines in alike.items():
            yield f"lowerings for {', '.join(engines)}", list(provided)


def _counts(plugin: Plugin) -> str:
    counts = {hook.removeprefix("fxq_"): len(records) for hook, records in plugin.records.items()}
    words = [f"{count} {title if count != 1 else title[:-1]}" for title, count in counts.items() if count]
    return ", ".join(words) or "nothing"
