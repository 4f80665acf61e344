"""Sentences and tables that a reader wants before the numbers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from speed.models import MODELS
from speed.tables import Results, table

# a difference within this share is no difference
EVEN = 0.03


def against(results: Results, batch: str) -> str:
    """A row per system: on how many networks it is slower than the baseline, as fast, faster, and where it wins."""
    baseline = results["settings"]["baseline"]
    rows = []
    for system in results["settings"]["systems"]:
        found = {
            MODELS[name].title: model["batches"][batch][system]["ratio"]["median"]
            for name, model in results["models"].items()
            if "ratio" in model["batches"].get(batch, {}).get(system, {})
        }
        if system != baseline and found:
            rows.append([system, *_row(list(found.values()), found)])
    header = ["system", "median ratio", f"slower than {baseline} on", "as fast on", "faster on", "faster on these"]
    return table(header, rows)


def _row(values: Sequence[float], found: Mapping[str, float]) -> list[str]:
    slower = sum(value > 1 + EVEN for value in values)
    faster = [name for name, value in found.items() if value < 1 - EVEN]
    names = "all" if len(faster) == len(values) > 1 else ", ".join(faster)
    return [
        f"{statistics.median(values):.2f}",
        str(slower),
        str(len(values) - slower - len(faster)),
        str(len(faster)),
        names,
    ]


def bounds(results: Results) -> str:
    """A row per network: its size, and the multiply-accumulates that the baseline does in a second."""
    baseline = results["settings"]["baseline"]
    sizes = sorted({int(batch) for model in results["models"].values() for batch in model["batches"]})
    rows = []
    for name, model in results["models"].items():
        row = [MODELS[name].title, str(model["size"]["layers"]), f"{model['size']['gmac']:.2f}"]
        for batch in sizes:
            rate = _rate(model, baseline, batch)
            row.append("" if rate is None else f"{rate:.0f}")
        rows.append(row)
    return table(["network", "layers", "GMAC", *(f"GMAC/s, batch {batch}" for batch in sizes)], rows)


def highest(results: Results) -> str:
    """The highest of these rates, and whose it is."""
    baseline = results["settings"]["baseline"]
    rates = [
        (rate, MODELS[name].title, batch)
        for name, model in results["models"].items()
        for batch in model["batches"]
        if (rate := _rate(model, baseline, int(batch))) is not None
    ]
    rate, title, batch = max(rates)
    return f"{rate:.0f} GMAC/s, by {title} at batch {batch}"


def _rate(model: Mapping[str, Any], system: str, batch: int) -> float | None:
    cell = model["batches"].get(str(batch), {}).get(system)
    return None if cell is None else 1e3 * model["size"]["gmac"] * batch / cell["ms"]["median"]


def machine(results: Results) -> str:
    facts = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['cpu']} ({', '.join(facts['flags'])}), {facts['cores']} cores, {facts['memory_gb']} GB, "
        f"{facts['system']}, Python {facts['python']}; {versions}."
    )
