"""``fxq plugins``: what is installed, what it provides, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fxq_core.cli import console
from fxq_core.discovery import Plugin
from fxq_core.registry import Registry, load_plugins

HEADER = ("plugin", "version", "entry point", "api", "state", "provides")
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
    registry = load_plugins()
    console.table(console.rows(HEADER, rows(registry)), STYLES)
    if verbose:
        for plugin in registry.plugins:
            click.echo(f"\n{plugin.provider}: loaded in {plugin.seconds:.3f} s")
            for title, names in _names(plugin).items():
                click.echo(f"  {title}: {', '.join(names)}")
        for failure in registry.failures:
            click.echo(f"\n{failure.provider}: {failure.error}")
            click.echo("".join(f"  {line}\n" for line in failure.traceback.splitlines()), nl=False)


def rows(registry: Registry) -> Iterator[tuple[str, ...]]:
    """A row for every plugin, in the order of their names."""
    found = [(p.provider, p.api, "loaded", _counts(p)) for p in registry.plugins]
    found += [(f.provider, "", "failed", f.error) for f in registry.failures]
    found += [(o.provider, "", "left out", o.reason) for o in registry.left_out]
    for provider, api, state, what in sorted(found, key=lambda row: (row[0].dist, row[0].entry_point)):
        yield provider.dist, provider.version, provider.entry_point, api, state, what


def _names(plugin: Plugin) -> dict[str, list[str]]:
    """The names of what a plugin provides, by kind; lowerings by engine or family."""
    names: dict[str, list[str]] = {}
    for hook, records in plugin.records.items():
        title = hook.removeprefix("fxq_")
        for record in records:
            place = f"{title} for {record.engine}" if title == "lowerings" else title
            names.setdefault(place, []).append(record.pattern if title == "lowerings" else record.name)
    return names


def _counts(plugin: Plugin) -> str:
    counts = {hook.removeprefix("fxq_"): len(records) for hook, records in plugin.records.items()}
    words = [f"{count} {title if count != 1 else title[:-1]}" for title, count in counts.items() if count]
    return ", ".join(words) or "nothing"
