"""Markdown of the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from speed.models import MODELS, STACKS
from speed.stats import Spread, slope

Results = Mapping[str, Any]
FAILED = "fails"
NOTHING = ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speed(results: Results, batch: str, systems: Sequence[str] | None = None) -> str:
    """A row per network: the baseline's time, and how many times as long each other system takes."""
    baseline = results["settings"]["baseline"]
    others = [system for system in systems or results["settings"]["systems"] if system != baseline]
    rows = []
    for name, model in results["models"].items():
        cells = model["batches"].get(batch, {})
        base = f"{cells[baseline]['ms']['median']:.2f}" if baseline in cells else _missing(model, baseline)
        rows.append([MODELS[name].title, base, *(_ratio(model, cells, system) for system in others)])
    return table(["network", f"{baseline}, ms", *others], rows)


def beside(results: Results, batch: str, system: str, others: Sequence[str]) -> str:
    """A row per network: a system's time by that of the baseline, and the others' by its own."""
    rows = []
    for name, model in results["models"].items():
        cells = model["batches"].get(batch, {})
        medians = {
            other: cells[other]["ratio"]["median"] for other in (system, *others) if "ratio" in cells.get(other, {})
        }
        if system in medians:
            shares = (f"{medians[o] / medians[system]:.2f}" if o in medians else _missing(model, o) for o in others)
            rows.append([MODELS[name].title, f"{medians[system]:.2f}", *shares])
    return table(["network", f"{system} by {results['settings']['baseline']}", *others], rows)


def _ratio(model: Mapping[str, Any], cells: Mapping[str, Any], system: str) -> str:
    if "ratio" in cells.get(system, {}):
        return spread(cells[system]["ratio"])
    return _missing(model, system)


def _missing(model: Mapping[str, Any], system: str) -> str:
    return FAILED if system in model["failures"] else NOTHING


def spread(value: Spread) -> str:
    """1.42 (1.39 to 1.47)."""
    return f"{value['median']:.2f} ({value['q1']:.2f} to {value['q3']:.2f})"


def reasons(results: Results) -> str:
    """A line for each system and reason: the networks it can't run, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, model in results["models"].items():
        for system, reason in model["failures"].items():
            found.setdefault((system, reason), []).append(MODELS[name].title)
    lines = [f"- {system} fails on {', '.join(names)}: `{reason}`" for (system, reason), names in sorted(found.items())]
    return "\n".join(lines) or "Every system ran every network."


def costs(results: Results, fact: str, systems: Sequence[str]) -> str:
    """A row per network, a column per system, of one fact of the build."""
    return _facts(results, systems, fact, lambda built, system: f"{built[system][fact]:.1f}")


def relative(results: Results, fact: str, systems: Sequence[str], to: str = "float") -> str:
    """The same as a multiple of another system's."""
    return _facts(results, systems, fact, lambda built, system: f"{built[system][fact] / built[to][fact]:.2f}", (to,))


def _facts(
    results: Results,
    systems: Sequence[str],
    fact: str,
    value: Callable[[Mapping[str, Any], str], str],
    needed: tuple[str, ...] = (),
) -> str:
    rows = [
        [
            MODELS[name].title,
            *(
                value(model["built"], system)
                if all(fact in model["built"].get(each, {}) for each in (system, *needed))
                else _missing(model, system)
                for system in systems
            ),
        ]
        for name, model in results["models"].items()
    ]
    return table(["network", *systems], rows)


def depth(results: Results, fact: str) -> str:
    """A row per system, a column per depth; what a layer costs is the slope over the depths."""
    stacks = results["depth"]
    depths = [_depth(name) for name in stacks]
    rows = []
    for system in growing(results):
        values = [depth_value(stack, system, fact) for stack in stacks.values()]
        known = [(x, y) for x, y in zip(depths, values, strict=True) if y is not None]
        each = f"{1e3 * slope(*zip(*known, strict=True)):.1f}" if len(known) > 1 else NOTHING
        cells = [
            _missing(stack, system) if value is None else f"{value:.2f}"
            for stack, value in zip(stacks.values(), values, strict=True)
        ]
        if any(cells):
            rows.append([system, *cells, each])
    return table(["system", *(STACKS[name].title for name in stacks), "a layer"], rows)


def _depth(name: str) -> int:
    return int(name.removeprefix("stack"))


def growing(results: Results) -> list[str]:
    """The systems whose growth was measured."""
    return [
        system
        for system in results["settings"]["systems"]
        if any(
            system in found["batches"].get("1", {})
            for found in (*results["depth"].values(), *results["batch"].values())
        )
    ]


def depth_value(stack: Mapping[str, Any], system: str, fact: str) -> float | None:
    """``ms`` of a call at batch 1, or a fact of the build."""
    if fact == "ms":
        cell = stack["batches"].get("1", {}).get(system)
        return cell and cell["ms"]["median"]
    return stack["built"].get(system, {}).get(fact)


def batches(results: Results) -> str:
    """A row per system, a column per batch size: milliseconds for one item."""
    ((_, model),) = results["batch"].items()
    rows = [
        [
            system,
            *(
                f"{cells[system]['ms']['median'] / int(batch):.2f}" if system in cells else _missing(model, system)
                for batch, cells in model["batches"].items()
            ),
        ]
        for system in growing(results)
    ]
    return table(["system", *(f"batch {batch}" for batch in model["batches"])], rows)
