"""Lowering: every part rebuilt for the engine; what fails on the way stays float and is told."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from fxq_core.capture import ATTRIBUTES, HOOKS
from fxq_core.errors import CalibrationError, PluginWarning, shown, warn
from fxq_core.matching import Refusal
from fxq_core.plan import PartPlan, Plan, in_float
from fxq_core.prepare import PreparedModel
from fxq_core.quantized_module import QuantizedModule
from fxq_core.report import NOTE, REPORT, Report, make_report
from fxq_core.sweep import Sweep, engine_blamed
from fxq_core.types import Engine, QParams

# the qparams of each part's groups, or None for a part that no batch reached
Calibration = Mapping[str, Mapping[int, QParams] | None]


def calibration(prepared: PreparedModel) -> Calibration:
    """What the batches so far gave.

    Raises:
        CalibrationError: no batch was observed, or a value was empty in every batch.
    """
    if prepared.parts and not any(part.batches for part in prepared.parts.values()):
        raise CalibrationError("the model was never calibrated; run calibrate(batches) or observe(batch) first")
    return {path: part.qparams() for path, part in prepared.parts.items()}


def lower(plan: Plan, prepared: PreparedModel, qparams: Calibration) -> nn.Module:
    """The quantized model: lowers every part that calibration reached; the prepared model stays usable.

    A match whose emitter fails is computed in float, with a ``PluginWarning``; the report says so too.

    Raises:
        PluginError: an emitter failed and the registry is strict, or what nothing can stand in for failed.
    """
    replaced: dict[int, Any] = {}
    parts = {part.path: part for part in plan.parts}
    # inner parts first, so that a copy of the module around one holds the lowered part
    for part in reversed(plan.parts):
        watched, found = prepared.parts[part.path], qparams[part.path]
        if found is None:
            lowered = _float_copy(watched.model, replaced)
        else:
            means = {layer: mean.mean() for layer, mean in watched.means.items()}
            parts[part.path], lowered = _lower_part(plan, part, found, means, replaced)
        replaced[id(watched)] = lowered
    root = copy.deepcopy(prepared.root, replaced)
    notes = {where: note for part in prepared.parts.values() for where, note in part.notes().items()}
    decided = replace(plan, parts=tuple(parts.values()), notes={**plan.notes, **notes})
    report: Report = make_report(decided, qparams)
    root = _finished(plan.engine, root)
    root.requires_grad_(False)
    setattr(root, REPORT, replace(report, notes=(*report.notes, *_notes(root))))
    return root


def _notes(root: nn.Module) -> Iterator[tuple[str, str]]:
    """What modules that an engine's ``finish`` has put in, or has changed, say of themselves."""
    for path, module in root.named_modules():
        note = getattr(module, NOTE, None)
        if isinstance(note, str):
            yield path, note


def _lower_part(
    plan: Plan,
    part: PartPlan,
    qparams: Mapping[int, QParams],
    means: Mapping[str, torch.Tensor],
    replaced: dict[int, Any],
) -> tuple[PartPlan, QuantizedModule]:
    """Lower one part, and again without the matches whose emitters failed, so that nothing of theirs is left."""
    sweep = Sweep(plan, part, qparams, means, replaced)
    lowered = sweep.run()
    if not sweep.failed:
        return part, lowered
    for error in sweep.failed.values():
        warn(PluginWarning(f"{error.told}; the node stays in float"))
    failed = {
        node: Refusal(error.failure, str(part.chosen[node].lowering.provider)) for node, error in sweep.failed.items()
    }
    return _lower_part(plan, in_float(part, failed), qparams, means, replaced)


def _finished(engine: Engine, root: nn.Module) -> nn.Module:
    if engine.finish is None:
        return root
    with engine_blamed(engine, "finish the module"):
        finished = engine.finish(root)
        if not isinstance(finished, nn.Module):
            raise TypeError(f"it returned {shown(finished)}, which is no module")
    return finished


def _float_copy(part: fx.GraphModule, replaced: dict[int, Any]) -> nn.Module:
    """A part as it is; copying a graph module loses its hooks and attributes."""
    copied = copy.deepcopy(part, replaced)
    for name in HOOKS:
        setattr(copied, name, copy.copy(getattr(part, name)))
    for name, value in part.meta[ATTRIBUTES].items():
        if not hasattr(copied, name):
            setattr(copied, name, copy.deepcopy(value, replaced))
    return copied
