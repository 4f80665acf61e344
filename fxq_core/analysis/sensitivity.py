"""Sensitivity: what quantizing each node alone costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from fxq_core import tables
from fxq_core.analysis.judges import Metric, check_metric, measured
from fxq_core.analysis.ranking import rank, rank_by_noise
from fxq_core.analysis.variants import Variants, float_model
from fxq_core.batches import NO_BATCH, check_batches
from fxq_core.capture.calls import as_arguments
from fxq_core.config import Config
from fxq_core.errors import CalibrationError, ConfigError
from fxq_core.quantize import Quantizer
from fxq_core.registry import Registry


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """One node, or several that can only be in int8 together.

    Attributes:
        part: the path of the part that it is in, "" where the whole model is one.
        node, module, pattern: as in the report.
        score: with this alone in int8, the SQNR of the output in dB, or the metric.
    """

    part: str
    node: str
    module: str
    pattern: str
    score: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What quantizing each node alone costs, the costliest first; of two that cost the same the earlier in the graph.

    Attributes:
        engine: the engine's name.
        reference: the metric of the float model, or None where SQNR was measured.
    """

    engine: str
    reference: float | None
    rows: tuple[SensitivityRow, ...]

    def __str__(self) -> str:
        title = f"engine {self.engine}: each node alone in int8, the costliest first"
        columns: tuple[str, ...] = ("SQNR dB",)
        if self.reference is not None:
            title, columns = f"{title}; metric in float: {self.reference:.6g}", ("metric", "drop")
        rows = [(row.node, row.module, row.pattern, *self._numbers(row)) for row in self.rows]
        return f"{title}\n{tables.table(('node', 'module', 'pattern', *columns), rows)}"

    def _numbers(self, row: SensitivityRow) -> tuple[str, ...]:
        if self.reference is None:
            return (f"{row.score:.1f}",)
        return f"{row.score:.6g}", f"{self.reference - row.score:.6g}"


def sensitivity(
    model: nn.Module | Quantizer,
    batches: Iterable[object],
    metric: Metric | None = None,
    *,
    engine: str | None = None,
    config: Config | None = None,
    registry: Registry | None = None,
) -> Sensitivity:
    """Rank the nodes that are quantized by what each costs alone, all others being in float.

    Lowers the model once for each node and runs it on every batch, or calls the metric; calibrates once.

    Args:
        model: a float model, or a calibrated quantizer, which stays as it is.
        batches: what to measure SQNR on, and to calibrate a float model with; kept in memory until the end. Each is a
            tensor, a tuple or list of arguments, or a dict of keyword arguments.
        metric: called with a model, returns a number, the higher the better; None measures the SQNR of the
            outputs, over all float tensors in them.
        engine, config, registry: those of ``Quantizer``, for a float model.

    Raises:
        CalibrationError: there is no batch to calibrate or to measure with, or the quantizer was not calibrated.
        ConfigError: the metric failed or gave NaN, the model returns no float tensor, or a quantizer is given along
            with what it already has.
        The others are those of ``Quantizer``.
    """
    if metric is not None:
        check_metric(metric)
    check_batches(batches)
    kept = list(batches)
    if not isinstance(model, Quantizer):
        if not kept:
            raise CalibrationError(NO_BATCH)
        model = Quantizer(model, kept[0], engine, config, registry).calibrate(kept)
    elif given := [n for n, v in {"engine": engine, "config": config, "registry": registry}.items() if v is not None]:
        raise ConfigError(f"{given[0]}= has no effect on a Quantizer, which has its own; give it to the Quantizer")
    if metric is None and not kept:
        raise CalibrationError(
            "there is no batch to measure SQNR on; give an iterable of at least one, or pass metric="
        )
    variants = Variants(model.plan, model._prepared)
    original = float_model(model.plan, model._prepared)
    reference: float | None = None
    if metric is None:
        ranked = rank_by_noise(variants, original, [as_arguments(batch) for batch in kept])
    else:
        reference = measured(metric, original, "the float model")
        ranked = rank(variants, lambda unit, lowered: measured(metric, lowered, f"the model with {unit.name} in int8"))
    rows = tuple(SensitivityRow(unit.part, unit.node, unit.module, unit.pattern, score) for unit, score in ranked)
    return Sensitivity(model.plan.engine.name, reference, rows)
