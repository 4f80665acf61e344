"""``fxq engines``: which engines there are, who claims them, and which of them work here."""

from __future__ import annotations

from collections.abc import Iterator

import click
import torch

from fxq_core.cli import console
from fxq_core.engines import advertised, choose_engine, why_unusable
from fxq_core.errors import EngineError
from fxq_core.registry import Registry

HEADER = ("engine", "claimed by", "in torch", "usable", "why not")
STYLES = {"yes": "green", "no": "red", "current": "bold"}


@click.command("engines")
def command() -> None:
    """List the engines that plugins claim or torch advertises, and try which of them work here.

    Being advertised is no proof: each engine that a plugin claims is probed by running a few tiny ops. The last line
    says which engine fxq takes when none is named.

    \b
    Examples:
      fxq engines
      fxq engines | grep yes

    Exit code: 0, also if no engine is usable.
    """
    registry = console.installed()
    console.table(console.rows(HEADER, _rows(registry)), STYLES)
    try:
        engine = choose_engine(registry, None)
    except EngineError as error:
        click.echo(f"\nwithout a name: {error}")
    else:
        click.echo(f"\nwithout a name: {engine.name!r} of {engine.provider}")


def _rows(registry: Registry) -> Iterator[tuple[str, ...]]:
    for name in sorted({*registry.engines, *advertised()}):
        claim = str(registry.engines[name].provider) if name in registry.engines else ""
        reason = why_unusable(registry, name)
        yield name, claim, in_torch(name), "no" if reason else "yes", reason or ""


def in_torch(name: str) -> str:
    """What torch says of an engine: "current", "advertised" or nothing."""
    if name == torch.backends.quantized.engine:
        return "current"
    return "advertised" if name in advertised() else ""
