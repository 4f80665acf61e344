"""What commands print: results on stdout, rich in a terminal and plain elsewhere; warnings and errors on stderr."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fxq_core import tables
from fxq_core.errors import EngineWarning, NothingQuantizedWarning, PluginWarning

OURS = (PluginWarning, EngineWarning, NothingQuantizedWarning)


def warning(message: str) -> None:
    click.echo(f"warning: {message}", err=True)


def error(message: str) -> None:
    click.echo(f"error: {message}", err=True)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each of fxq's warnings as one line, also where Python is told to raise or to ignore them."""
    with warnings.catch_warnings():
        for category in OURS:
            warnings.simplefilter("always", category)
        elsewhere = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, OURS):
                warning(str(message))
            else:
                elsewhere(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def table(header: Sequence[str], rows: Iterable[Sequence[object]], styles: Mapping[str, str] | None = None) -> None:
    """Print a table: folded to the width of a terminal, elsewhere with every cell whole.

    Args:
        styles: how a terminal shows a cell, by its text.
    """
    cells = [tuple(map(str, row)) for row in rows]
    console = Console(highlight=False)
    if not console.is_terminal:
        click.echo(tables.table(header, cells))
        return
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in header:
        shown.add_column(title, overflow="fold")
    for row in cells:
        # as text: a cell may hold brackets, which are no markup
        shown.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in row))
    console.print(shown)
