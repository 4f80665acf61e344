"""``fxq patterns``: which engine computes which pattern in int8, and whose code does it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from fxq_core.cli import console
from fxq_core.engines import why_unusable
from fxq_core.errors import EngineError
from fxq_core.registry import EVERY_PATTERN, Registry
from fxq_core.types import Lowering


@click.command("patterns")
@click.option("--engine", metavar="NAME", help="Only this engine.")
def command(engine: str | None) -> None:
    """Show a table of patterns and engines: who lowers each pattern for each engine.

    A cell ends in what a lowering is for if that is no single engine and pattern: "(torch)" for one that serves every
    engine of the family torch, "(*)" for one that serves every pattern that has none of its own. A column in brackets
    is an engine or a family that no loaded plugin provides: its lowerings are dormant.

    \b
    Examples:
      fxq patterns
      fxq patterns --engine reference
      fxq patterns | grep conv2d

    Exit codes: 0; 1 if there is no such engine.
    """
    registry = console.installed()
    dormant = _dormant(registry)
    engines, asleep = sorted(registry.engines), sorted({low.engine for low in dormant.values()})
    if engine is not None:
        engines, asleep = [e for e in engines if e == engine], [e for e in asleep if e == engine]
        if not engines and not asleep:
            raise EngineError(f"engine {engine!r} {why_unusable(registry, engine)}")
    every = [EVERY_PATTERN] if any((name, EVERY_PATTERN) in dormant for name in asleep) else []
    rows = []
    for pattern in (*sorted(registry.patterns), *every):
        awake = [_cell(registry, name, pattern) for name in engines]
        rows.append((pattern, *awake, *(_who(dormant.get((name, pattern))) for name in asleep)))
    full = console.rows(("pattern", *engines, *(f"[{name}]" for name in asleep)), rows)
    narrow = console.rows(("pattern", "lowered by"), ((row[0], _merged(full.header[1:], row[1:])) for row in rows))
    console.table(full, narrow=narrow)
    for name in asleep:
        click.echo(f"\n[{name}]: dormant, since no loaded plugin provides an engine or a family {name!r}")


def _merged(engines: Sequence[str], cells: Sequence[str]) -> str:
    """Who lowers a pattern, each with the engines that it is for."""
    served = {who: [e for e, cell in zip(engines, cells, strict=True) if cell == who] for who in cells if who}
    return "; ".join(f"{who}: {', '.join(names)}" for who, names in served.items())


def _dormant(registry: Registry) -> dict[tuple[str, str], Lowering]:
    """The lowerings for engines and families that are not installed."""
    awake = {name for engine in registry.engines.values() for name in (engine.name, engine.family)}
    return {key: lowering for key, lowering in registry.lowerings.items() if lowering.engine not in awake}


def _who(lowering: Lowering | None) -> str:
    return "" if lowering is None else str(lowering.provider)


def _cell(registry: Registry, engine: str, pattern: str) -> str:
    if pattern == EVERY_PATTERN:
        return ""
    lowering = registry.lowering(registry.engines[engine], pattern)
    if lowering is None:
        return ""
    family = [] if lowering.engine == engine else [lowering.engine]
    every = [EVERY_PATTERN] if lowering.pattern == EVERY_PATTERN else []
    serves = f" ({', '.join((*family, *every))})" if family or every else ""
    return f"{lowering.provider}{serves}"
