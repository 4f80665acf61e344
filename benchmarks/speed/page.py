"""docs/performance.md and its charts: the template with the results put in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from speed import chart, summary, tables
from speed.models import MODELS
from speed.tables import Results

TEMPLATE = Path(__file__).resolve().parent / "template.md"
DOCS = Path(__file__).resolve().parents[2] / "docs"
PARTIAL = """
**These are not the results of a whole run:** parts were left out, or measured apart, beside other work, and with
threads that sleep between kernels.
"""
PEERS = ("torch.ao-x86", "torchao-inductor", "onnxruntime", "openvino")
# the engine that takes whole graphs
WHOLE = "fxq-openvino"
COSTS = ("fxq-x86", *PEERS)
# a model of torch.ao or torchao that is let go stays in memory
FREED = ("float", "fxq-x86", "onnxruntime", "openvino")


def page(results: Results) -> dict[str, str]:
    """The text of each file under docs/, by its name."""
    settings = results["settings"]
    own = [name for name in settings["systems"] if name.startswith(("float", "fxq")) or name == "torch.ao-qnnpack"]
    costs, weights = _present(results, COSTS), _present(results, ("float", *COSTS))
    watched = _present(results, ("fxq-x86", "torch.ao-x86", "torchao-inductor"))
    filled = TEMPLATE.read_text().format(
        threads=settings["threads"],
        rounds=settings["rounds"],
        baseline=settings["baseline"],
        machine=summary.machine(results),
        note="" if settings["whole"] else PARTIAL,
        against_1=summary.against(results, "1"),
        against_16=summary.against(results, "16"),
        peers_1=tables.speed(results, "1", _present(results, PEERS)),
        peers_16=tables.speed(results, "16", _present(results, PEERS)),
        own_1=tables.speed(results, "1", own),
        own_16=tables.speed(results, "16", own),
        whole_1=tables.beside(results, "1", WHOLE, _present(results, PEERS)),
        whole_16=tables.beside(results, "16", WHOLE, _present(results, PEERS)),
        reasons=tables.reasons(results),
        highest=summary.highest(results),
        bounds=summary.bounds(results),
        depth_ms=tables.depth(results, "ms"),
        depth_quantize=tables.depth(results, "quantize_s"),
        growth_title=", ".join(MODELS[name].title for name in results["batch"]),
        batch_ms=tables.batches(results),
        quantize=tables.costs(results, "quantize_s", costs),
        calibrate=tables.relative(results, "calibrate_s", watched),
        peak=tables.relative(results, "calibrate_peak_mb", watched),
        disk=tables.costs(results, "disk_mb", weights),
        resident=tables.costs(results, "resident_mb", _present(results, FREED)),
        first=tables.costs(results, "first_ms", weights),
    )
    return {
        "performance.md": filled,
        "performance-1.svg": chart.ratios(results, "1"),
        "performance-16.svg": chart.ratios(results, "16"),
        "performance-depth.svg": chart.growth(results, "quantize_s", "seconds"),
    }


def write(results: Results, folder: Path = DOCS) -> None:
    for name, content in page(results).items():
        (folder / name).write_text(content)


def _present(results: Results, systems: Sequence[str]) -> list[str]:
    return [system for system in systems if system in results["settings"]["systems"]]
