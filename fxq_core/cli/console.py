"""What commands print: results on stdout, rich in a terminal and plain elsewhere; warnings and errors on stderr."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fxq_core import tables
from fxq_core.errors import EngineWarning, NothingQuantizedWarning, PluginWarning
from fxq_core.registry import Registry, load_plugins

# how narrow the last column of a table may become
FOLDED = 30
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

        warnings.showwarning = show  # type: ignore[assignment]  # the names of its arguments are its own
        yield


def installed() -> Registry:
    """The core and the installed plugins; whatever they print while they are loaded is no part of the result."""
    with contextlib.redirect_stdout(sys.stderr):
        return load_plugins()


class Rows(NamedTuple):
    """A table: the titles of its columns, and its cells."""

    header: Sequence[str]
    cells: list[tuple[str, ...]]

    @property
    def widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.header, *self.cells, strict=True)]

    def fits(self, width: int) -> bool:
        """Whether the last column has room beside the others, folded if need be."""
        *fixed, last = self.widths
        return sum(fixed) + 2 * len(fixed) + min(last, FOLDED) <= width


def rows(header: Sequence[str], cells: Iterable[Sequence[object]]) -> Rows:
    return Rows(header, [tuple(map(str, row)) for row in cells])


def table(full: Rows, styles: Mapping[str, str] | None = None, narrow: Rows | None = None) -> None:
    """Print a table: fitted to a terminal, elsewhere with every cell whole.

    Args:
        styles: how a terminal shows a cell, by its text.
        narrow: the same in fewer columns, for a terminal in which ``full`` has no room.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        click.echo(tables.table(*full))
        return
    chosen = full if narrow is None or full.fits(console.width) else narrow
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    whole = len(chosen.header) - 1 if chosen.fits(console.width) else 0
    for number, title in enumerate(chosen.header):
        shown.add_column(title, overflow="fold", no_wrap=number < whole)
    for row in chosen.cells:
        # as text: a cell may hold brackets, which are no markup
        shown.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in row))
    console.print(shown)
