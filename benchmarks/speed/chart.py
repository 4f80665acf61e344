"""SVG of the results: ratios as points, growth as lines, both on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from speed.models import MODELS, STACKS
from speed.tables import Results, depth_value, growing

COLOURS = (
    "#444444", "#aaaaaa", "#1b9aaa", "#4c9be8", "#1f4e9c", "#9cc9f5", "#7d5bd0",
    "#e07b39", "#f3b48b", "#c9a227", "#2e9e5b", "#d43d51", "#8b5e3c", "#c45ab3",
)  # fmt: skip
WIDTH = 860
LEFT, RIGHT, TOP = 150, 20, 70
ROW = 26
FONT = 12


@dataclass(frozen=True, slots=True)
class Axis:
    """Logarithmic, from ``low`` at ``start`` to ``high`` at ``end``, in pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times powers of ten, within the axis."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        return [
            step * 10.0**power for power in powers for step in (1, 2, 5) if self.low <= step * 10.0**power <= self.high
        ]


def around(values: Iterable[float]) -> tuple[float, float]:
    """Bounds that leave a little air."""
    values = list(values)
    return min(values) / 1.15, max(values) * 1.15


def text(x: float, y: float, content: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="{width}"/>'


def dot(x: float, y: float, colour: str, title: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="4.5" fill="{colour}"><title>{escape(title)}</title></circle>'


def legend(colours: Mapping[str, str]) -> list[str]:
    """Above the plot, six names in a row."""
    parts = []
    for number, (name, colour) in enumerate(colours.items()):
        x, y = 20 + number % 6 * 138, 18 + number // 6 * 18
        parts += [dot(x, y - 4, colour, name), text(x + 9, y, name)]
    return parts


def svg(height: float, parts: Sequence[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="{FONT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"


def coloured(results: Results, systems: Iterable[str]) -> dict[str, str]:
    """The same system has the same colour in every chart."""
    known = dict(zip(results["settings"]["systems"], COLOURS, strict=False))
    return {system: known[system] for system in systems}


def ratios(results: Results, batch: str) -> str:
    """A row per network, a point per system: right of the line it is slower than the baseline."""
    baseline = results["settings"]["baseline"]
    rows: dict[str, dict[str, Any]] = {
        MODELS[name].title: {
            system: cell["ratio"]["median"]
            for system, cell in model["batches"].get(batch, {}).items()
            if "ratio" in cell and system != baseline
        }
        for name, model in results["models"].items()
    }
    axis = Axis(*around([1.0, *(value for row in rows.values() for value in row.values())]), LEFT, WIDTH - RIGHT)
    colours = coloured(results, [system for system in results["settings"]["systems"] if system != baseline])
    bottom = TOP + ROW * len(rows)
    parts = legend(colours)
    for tick in axis.ticks():
        parts += [
            line(axis.at(tick), TOP - 8, axis.at(tick), bottom, "#dddddd"),
            text(axis.at(tick), bottom + 16, f"{tick:g}", "middle"),
        ]
    parts.append(line(axis.at(1), TOP - 8, axis.at(1), bottom, "#222222", 1.5))
    for number, (title, row) in enumerate(rows.items()):
        y = TOP + ROW * number + ROW / 2
        parts.append(text(LEFT - 10, y + 4, title, "end"))
        parts += [dot(axis.at(value), y, colours[system], f"{system}: {value:.2f}") for system, value in row.items()]
    parts.append(text((LEFT + WIDTH) / 2, bottom + 34, f"time by that of {baseline}, batch {batch}", "middle"))
    return svg(bottom + 46, parts)


def growth(results: Results, fact: str, label: str) -> str:
    """A line per system over the number of layers."""
    depths = {int(name.removeprefix("stack")): STACKS[name].title for name in results["depth"]}
    lines: dict[str, list[tuple[int, float]]] = {
        system: [
            (depth, value)
            for depth, stack in zip(depths, results["depth"].values(), strict=True)
            if (value := depth_value(stack, system, fact)) is not None
        ]
        for system in growing(results)
    }
    lines = {system: points for system, points in lines.items() if points}
    return curves(lines, coloured(results, lines), depths, label)


def curves(
    lines: Mapping[str, Sequence[tuple[int, float]]],
    colours: Mapping[str, str],
    marks: Mapping[int, str],
    label: str,
) -> str:
    """A line per name through its points, each with a title; ``marks`` are what stands below the plot, and where."""
    bottom = TOP + 300
    across = Axis(*around(marks), LEFT, WIDTH - RIGHT)
    up = Axis(*around(value for points in lines.values() for _, value in points), bottom, TOP)
    parts = legend(colours)
    for tick in up.ticks():
        parts += [
            line(LEFT, up.at(tick), WIDTH - RIGHT, up.at(tick), "#dddddd"),
            text(LEFT - 8, up.at(tick) + 4, f"{tick:g}", "end"),
        ]
    parts += [text(across.at(x), bottom + 16, mark, "middle") for x, mark in marks.items()]
    for name, points in lines.items():
        places = [(across.at(x), up.at(y)) for x, y in points]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        parts += [
            dot(x, y, colours[name], f"{name}: {value:.3g}") for (x, y), (_, value) in zip(places, points, strict=True)
        ]
    parts.append(text(LEFT - 8, TOP - 14, label, "end"))
    return svg(bottom + 28, parts)
