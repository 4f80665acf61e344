"""docs/observers.md: the tables, and what follows from them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import fxq_core as fxq

from accuracy import peers, tables
from accuracy.networks import NETWORKS
from accuracy.run import Cell
from accuracy.variants import EQUALIZED, ONE_SCALE, ONE_SCALE_EQUALIZED, OTHER_IMAGES, UNCORRECTED
from data import CALIBRATION_BATCH, CALIBRATION_BATCHES, TEST_IMAGES

TEMPLATE = Path(__file__).resolve().parent / "template.md"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "observers.md"
WIDTH = 120
# what is no other observer
PASSES = (UNCORRECTED, EQUALIZED, ONE_SCALE, ONE_SCALE_EQUALIZED)
# the demo's, and engines to compare on it
NETWORK, SHOWN = "mobilenet", ("x86", "onednn", "qnnpack")


def page(cells: Sequence[Cell]) -> str:
    return TEMPLATE.read_text(encoding="utf-8").format(
        networks=len(NETWORKS),
        calibration=CALIBRATION_BATCHES * CALIBRATION_BATCH,
        test=TEST_IMAGES,
        conclusion=conclusion(cells, fxq.load_plugins().engines[cells[0].engine].activation.observer),
        means=tables.means(cells),
        sqnr=tables.sqnr(cells),
        accuracy=tables.accuracy(cells),
    )


def conclusion(cells: Sequence[Cell], default: str) -> str:
    """The ranking by mean SQNR, what of it is chance, and what the default gives, in words."""
    found = {(cell.network, cell.engine, cell.variant): cell.quality.sqnr for cell in cells}
    variants = tables.variants(cells)
    means = {name: tables.mean_sqnr([cell for cell in cells if cell.variant == name]) for name in variants}
    names = [name for name in variants if name not in (*PASSES, OTHER_IMAGES, peers.NAME)]
    ranked = sorted(names, key=lambda name: -means[name])
    moved = [
        abs(sqnr - found[network, engine, OTHER_IMAGES])
        for (network, engine, variant), sqnr in found.items()
        if variant == default
    ]
    shown = [engine for engine in SHOWN if (NETWORK, engine, default) in found]
    ours, theirs = (
        ", ".join(f"{found[NETWORK, engine, name]:.1f} on {engine}" for engine in shown)
        for name in (default, peers.NAME)
    )
    listed = ", ".join(f"`{name}` {means[name]:.1f} dB" for name in ranked)
    behind = means[ranked[0]] - means[default]
    rank = f"{behind:.1f} dB below the best" if behind else "the best"
    paragraphs = (
        f"On average over networks and engines: {listed}. Other images move a number of the table by "
        f"{sum(moved) / len(moved):.1f} dB on average and {max(moved):.1f} at most, so observers that are closer than "
        "that are as good as each other.",
        f"The default of all engines is `{default}`, {rank} on average; a single [outlier](faults.md) does not widen "
        f"its range. On the demo's MobileNet it gives, in dB, {ours}; torch.ao gives {theirs}.",
        f"Bias correction is on by default: without it the mean is {means[UNCORRECTED]:.1f} dB. Equalization is off: "
        f"with it the mean is {means[EQUALIZED]:.1f} dB. Where a weight has one scale in all, it is "
        f"{means[ONE_SCALE]:.1f} dB without equalization and {means[ONE_SCALE_EQUALIZED]:.1f} dB with it.",
    )
    return "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs)


def write(cells: Sequence[Cell]) -> None:
    PAGE.write_text(page(cells), encoding="utf-8")
