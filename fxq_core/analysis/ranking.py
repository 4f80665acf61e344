"""The order of the units of a model by what each alone costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn
from tqdm import tqdm

from fxq_core.analysis.judges import OutputNoise
from fxq_core.analysis.variants import Unit, Variants
from fxq_core.capture.calls import Arguments


def rank(variants: Variants, score: Callable[[Unit, nn.Module], float]) -> list[tuple[Unit, float]]:
    """Every unit with the score of the model in which it alone is in int8: the lowest first, ties in graph order."""
    units = tqdm(variants.units, desc="sensitivity", unit="node", disable=None, leave=False)
    return sorted([(unit, score(unit, variants.alone(unit))) for unit in units], key=lambda scored: scored[1])


def rank_by_noise(variants: Variants, model: nn.Module, batches: Sequence[Arguments]) -> list[tuple[Unit, float]]:
    """Rank by the SQNR in dB of the outputs to those of a float model, over some batches."""
    noise = OutputNoise(model, batches)
    return rank(variants, lambda _, lowered: noise(lowered))
