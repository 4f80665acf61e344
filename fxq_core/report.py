"""The report: what became of each node, kept on the quantized module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from fxq_core import tables
from fxq_core.analysis.trail import Budget
from fxq_core.capture.location import located
from fxq_core.correction import told
from fxq_core.discovery import CORE
from fxq_core.errors import FxqError
from fxq_core.plan import Plan
from fxq_core.quantized_module import QuantizedModule
from fxq_core.types import QParams

if TYPE_CHECKING:
    from fxq_core.tuning import TuneReport

REPORT = "fxq_report"
# the attribute of a module of the result that says in a sentence what it stands for, for the report's notes
NOTE = "fxq_note"
UNREACHED = "no calibration batch reached it"


@dataclass(frozen=True, slots=True)
class Row:
    """One node: a verdict of the plan, and the qparams of its result (None without).

    ``part`` and ``group`` say where the module keeps these qparams, ``where`` where a float op stands in the code.
    """

    part: str
    node: str
    module: str
    op: str
    quantized: bool
    pattern: str
    provider: str
    scale: float | None
    zero_point: int | None
    reason: str
    group: int | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One row per node, and what became of modules that are no node; plain data that travels with the module.

    ``budget`` is the search that ``quantize(..., max_drop=...)`` made, ``tuning`` what the last ``tune``
    of the module found.
    ``corrected`` are the paths of the layers whose bias was corrected, ``equalized`` the nodes of the layers whose
    weights were equalized with each other: the path of the part, and two names.
    ``saturation`` says by module path why no int16 sum of a layer saturates, on engines that have any.
    ``resident_bytes`` is what the module's tensors take in memory, ``packed_bytes`` what of it engines hold in their
    own form, beside the int8 weights that ``state_dict()`` gives.
    """

    engine: str
    provider: str
    rows: tuple[Row, ...]
    notes: tuple[tuple[str, str], ...]
    budget: Budget | None = None
    tuning: TuneReport | None = None
    corrected: tuple[str, ...] = ()
    equalized: tuple[tuple[str, str, str], ...] = ()
    saturation: tuple[tuple[str, str], ...] = ()
    resident_bytes: int = 0
    packed_bytes: int = 0

    def __str__(self) -> str:
        quantized = sum(row.quantized for row in self.rows)
        lines = [f"engine {self.engine} ({self.provider}): {quantized} of {len(self.rows)} nodes in int8"]
        header = ("node", "module", "op", "verdict", "pattern", "by", "scale", "zero point", "reason")
        lines.append(tables.table(header, map(_cells, self.rows)))
        lines += [f"{path or 'the root'}: {note}" for path, note in self.notes]
        lines += told(self.corrected)
        if self.budget is not None:
            lines.append(str(self.budget))
        for reason in dict.fromkeys(reason for _, reason in self.saturation):
            paths = [path or "the root" for path, why in self.saturation if why == reason]
            lines.append(f"saturation is impossible in {', '.join(paths)}: {reason}")
        if self.packed_bytes:
            lines.append(f"tensors take {self.resident_bytes} bytes, {self.packed_bytes} of them packed weights")
        return "\n".join(lines)


def _cells(row: Row) -> tuple[object, ...]:
    scale = "" if row.scale is None else f"{row.scale:.4g}"
    zero_point = "" if row.zero_point is None else row.zero_point
    verdict = "int8" if row.quantized else "float"
    return (
        row.node,
        row.module,
        row.op,
        verdict,
        row.pattern,
        row.provider,
        scale,
        zero_point,
        located(row.reason, row.where),
    )


def make_report(plan: Plan, qparams: Mapping[str, Mapping[int, QParams] | None]) -> Report:
    rows = []
    for part in plan.parts:
        found = qparams[part.path]
        groups = {node.name: group for node, group in part.groups.of.items()}
        for v in part.verdicts:
            about = (part.path, v.node, v.module, v.op)
            if v.quantized and found is None:
                rows.append(Row(*about, False, "", CORE, None, None, UNREACHED, where=v.where))
                continue
            group = None if found is None else groups.get(v.node)
            scale, zero_point = (None, None) if group is None or found is None else found[group]
            rows.append(Row(*about, v.quantized, v.pattern, v.provider, scale, zero_point, v.reason, group, v.where))
    engine = plan.engine
    reached = replace(plan, parts=tuple(part for part in plan.parts if qparams[part.path] is not None))
    return Report(
        engine.name,
        str(engine.provider),
        tuple(rows),
        tuple(plan.notes.items()),
        corrected=reached.corrected,
        equalized=tuple((part.path, one.name, other.name) for part in plan.parts for one, other in part.equalized),
    )


def report(qmodel: nn.Module) -> Report:
    """What ``quantize()`` did with each node of the model, with the qparams that the model has now.

    Raises:
        FxqError: the module was not made by ``quantize()``.
    """
    found = stored(qmodel)
    parts = {part.fxq_part: part for part in qmodel.modules() if isinstance(part, QuantizedModule)}
    modules = [(path, module) for path, module in qmodel.named_modules() if hasattr(module, "fxq_packed_bytes")]
    packed = sum(module.fxq_packed_bytes() for _, module in modules)
    tensors = {id(tensor): tensor.nbytes for tensor in (*qmodel.parameters(), *qmodel.buffers())}
    return replace(
        found,
        rows=tuple(_now(row, parts.get(row.part)) for row in found.rows),
        saturation=tuple((path, module.fxq_saturation()) for path, module in modules),
        resident_bytes=sum(tensors.values()) + packed,
        packed_bytes=packed,
    )


def stored(qmodel: nn.Module) -> Report:
    """The report as it is kept in the model: without what is read from its tensors, which takes a look at each weight.

    Raises:
        FxqError: the module was not made by ``quantize()``.
    """
    found = getattr(qmodel, REPORT, None)
    if not isinstance(found, Report):
        raise FxqError(f"{type(qmodel).__name__} holds no report; pass what quantize() returned")
    return found


def store(qmodel: nn.Module, **more: Any) -> None:
    """Add to the report that is kept in the model."""
    setattr(qmodel, REPORT, replace(stored(qmodel), **more))


def _now(row: Row, part: QuantizedModule | None) -> Row:
    if row.group is None or part is None:
        return row
    return replace(row, scale=part.fxq_scale[row.group].item(), zero_point=int(part.fxq_zero_point[row.group]))
