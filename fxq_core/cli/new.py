"""``fxq new``: a complete distribution to start a plugin from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

import fxq_core as fxq
from fxq_core.cli import console, scaffold


@click.command("new")
@click.argument("kind", type=click.Choice(tuple(scaffold.KINDS)))
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to write to: a new or an empty one. Default: the distribution's name, here.",
)
def command(kind: str, name: str, directory: Path | None) -> None:
    """Write a plugin to start from: a distribution that works, with its conformance suite.

    NAME is the distribution's, and of an engine or an observer also its own; the prefix "fxq-" is added to the former
    if it is missing. Nothing is overwritten.

    \b
    Examples:
      fxq new pattern softsign     an op, in int8 on every engine of a family
      fxq new engine tiny          something that runs quantized ops
      fxq new observer wide        a way to find ranges
      fxq new pattern softsign --directory plugins/softsign

    Exit codes: 0, and 1 if the name or the folder won't do.
    """
    dist = scaffold.named(kind, name, console.installed())
    folder = Path(dist) if directory is None else directory
    files = scaffold.render(kind, dist, fxq.API_VERSION)
    scaffold.write(files, folder)
    click.echo(f"wrote {dist} to {folder}, {len(files)} files; next:")
    click.echo(f"  cd {shlex.quote(str(folder))}")
    click.echo("  python -m pip install -e '.[test]'")
    click.echo("  python -m pytest")
    click.echo(f"then follow the numbered comments in src/{scaffold.module_of(dist)}/__init__.py")
