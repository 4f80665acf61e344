"""Markdown of the results."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import mean

from accuracy.networks import NETWORKS
from accuracy.run import Cell
from measure import Quality


def sqnr(cells: Sequence[Cell]) -> str:
    """The SQNR of the logits, in dB."""
    return _by_network(cells, lambda found: f"{found.sqnr:.1f}")


def accuracy(cells: Sequence[Cell]) -> str:
    """Percent of the test images."""
    return _by_network(cells, lambda found: f"{found.int8_accuracy:.2f}", lambda found: f"{found.float_accuracy:.2f}")


def means(cells: Sequence[Cell]) -> str:
    """For each variant the mean SQNR by engine and in all, the least, and the accuracy lost, on average and at most."""
    engines = list(dict.fromkeys(cell.engine for cell in cells))
    rows = [["", *engines, "mean", "least", "points lost, mean", "most"]]
    for name in variants(cells):
        own = [cell for cell in cells if cell.variant == name]
        found = [mean_sqnr([cell for cell in own if cell.engine == engine]) for engine in engines]
        found += [mean_sqnr(own), min(cell.quality.sqnr for cell in own)]
        lost = [cell.quality.float_accuracy - cell.quality.int8_accuracy for cell in own]
        numbers = ["" if math.isnan(number) else f"{number:.1f}" for number in found]
        rows.append([name, *numbers, f"{mean(lost):.2f}", f"{max(lost):.2f}"])
    return _markdown(rows, 1)


def mean_sqnr(cells: Sequence[Cell]) -> float:
    """Not a number of no cells."""
    return mean(cell.quality.sqnr for cell in cells) if cells else math.nan


def _by_network(
    cells: Sequence[Cell], text: Callable[[Quality], str], before: Callable[[Quality], str] | None = None
) -> str:
    """A row for each network and engine, a column for each variant, and before them one of the float network."""
    names = variants(cells)
    rows = [["network", "engine", *(["float"] if before else []), *names]]
    for (network, engine), group in groupby(cells, lambda cell: (cell.network, cell.engine)):
        found = {cell.variant: cell.quality for cell in group}
        floats = [before(next(iter(found.values())))] if before else []
        shown = [text(found[name]) if name in found else "" for name in names]
        rows.append([NETWORKS[network].title, engine, *floats, *shown])
    return _markdown(rows, 2)


def variants(cells: Sequence[Cell]) -> list[str]:
    """Their names, in order."""
    return list(dict.fromkeys(cell.variant for cell in cells))


def _markdown(rows: list[list[str]], texts: int) -> str:
    """A table whose first columns are text and the others numbers."""
    rule = ["---"] * texts + ["---:"] * (len(rows[0]) - texts)
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))
