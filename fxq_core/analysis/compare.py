"""Compare a quantized model with its float original, node by node."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from fxq_core.analysis.borders import Borders
from fxq_core.analysis.comparison import Comparison, ComparisonRow
from fxq_core.analysis.noise import cosine, largest_error, sqnr
from fxq_core.analysis.tap import Tap, first_calls, last_of_sources
from fxq_core.capture import Captured, capture
from fxq_core.capture.calls import Arguments, as_arguments, cloned, kept_random
from fxq_core.config.records import ERROR
from fxq_core.engines import choose_engine
from fxq_core.equalization import equalize
from fxq_core.errors import ConfigError, FxqError, InputError, one_line, shown
from fxq_core.groups import Groups
from fxq_core.plan import PartPlan, Plan, op_text
from fxq_core.quantized_module import QuantizedModule
from fxq_core.registry import Registry, load_plugins
from fxq_core.report import Report, Row, stored
from fxq_core.types import QParams

WAY_OUT = "pass the model that qmodel was made from, and a batch like the first that it was made with"


def compare(
    model: nn.Module, qmodel: nn.Module, batch: Any, threshold: float = 20.0, registry: Registry | None = None
) -> Comparison:
    """Run both models on a batch, and compare each value of the float graph with the one the lowered graph holds.

    The errors add up along the graph: each node is computed from what the nodes before it gave. Of a part that is
    called several times the first call is compared. All values of the float model are in memory at once.

    Args:
        model: the float model that ``qmodel`` was made from; it stays as it is.
        qmodel: what ``quantize()`` returned, or a copy of it, or one that has loaded a state dict.
        batch: a tensor, a tuple or list of arguments, or a dict of keyword arguments.
        threshold: in dB; the first node below it is marked. With 20, errors are a tenth of the values.
        registry: the plugins, which know the form in which an engine holds its values; None loads the installed ones.

    Raises:
        FxqError: ``qmodel`` was not made by ``quantize()``, or from another model, or its engine took it as a whole.
        CaptureError: the float model or the batch can't be used.
        ConfigError: the threshold is no number.
        InputError: ``qmodel`` refuses the batch.
        EngineError: the engine of ``qmodel`` is not installed or can't run here.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or math.isnan(threshold):
        raise ConfigError(f"threshold is {shown(threshold)}; pass a number of dB")
    found = stored(qmodel)
    parts = {m.fxq_part: m for m in qmodel.modules() if isinstance(m, QuantizedModule)}
    if found.rows and not parts:
        raise FxqError(f"engine {found.engine!r} took the graphs of qmodel as a whole; compare the outputs instead")
    registry = load_plugins() if registry is None else registry
    plan = Plan(choose_engine(registry, found.engine), registry, capture(model, as_arguments(batch)), (), {}, ERROR)
    _check_same(plan.captured, found)
    for path, part in plan.captured.parts.items():
        # the values between equalized layers are those of the equalized network
        nodes = {node.name: node for node in part.graph.nodes}
        equalize(part, [(nodes[one], nodes[other]) for where, one, other in found.equalized if where == path])
    rows = tuple(_rows(plan, found, qmodel, parts, as_arguments(batch)))
    return Comparison(found.engine, threshold, rows)


def _check_same(captured: Captured, found: Report) -> None:
    """Refuse models of which one was not made from the other, as far as the names and ops of their nodes tell."""
    ours = [(path, n.name, op_text(part, n)) for path, part in captured.parts.items() for n in part.graph.nodes]
    theirs = [(row.part, row.node, row.op) for row in found.rows]
    if ours == theirs:
        return
    end = ("", "", "")
    number = next(i for i in range(max(len(ours), len(theirs))) if ours[i : i + 1] != theirs[i : i + 1])
    one, other = ((nodes[number : number + 1] or [end])[0] for nodes in (ours, theirs))
    raise FxqError(
        f"model and qmodel don't belong together: {_told(*one)} of model is {_told(*other)} of qmodel; {WAY_OUT}"
    )


def _told(part: str, node: str, op: str) -> str:
    return "no node" if not node else f"node {node!r} ({op})" + (f" of part {part!r}" if part else "")


def _rows(
    plan: Plan, found: Report, qmodel: nn.Module, parts: dict[str, QuantizedModule], batch: Arguments
) -> Iterator[ComparisonRow]:
    captured = plan.captured
    floats = first_calls(captured.root, captured.parts, batch)
    try:
        calls = first_calls(qmodel, parts, batch)
    except Exception as error:
        raise InputError(f"qmodel refused the batch ({one_line(error.__cause__ or error)}); {WAY_OUT}") from error
    for path, part in captured.parts.items():
        if path in calls and path in floats:
            about = {row.node: row for row in found.rows if row.part == path}
            held = _Held(plan, part, parts[path], about)
            values = _values(part, floats[path])
            ran = held.values(calls[path])
            yield from (_compared(about[node], values[node], ran[node]) for node in values if node in ran)


def _values(part: fx.GraphModule, args: tuple[Any, ...]) -> dict[str, torch.Tensor]:
    """Every float tensor of a float graph, in graph order, as it was before anybody wrote into it."""
    values: dict[str, torch.Tensor] = {}

    def look(node: fx.Node, value: Any) -> Any:
        if _is_float(value) and node.op != "output":
            values[node.name] = value.clone()
        return value

    with torch.no_grad(), kept_random():
        Tap(part, part.graph, look).run(*cloned((args, {}))[0])
    return values


class _Held:
    """What the lowered graph of a part holds for the nodes of the float graph, as floats."""

    def __init__(self, plan: Plan, part: fx.GraphModule, module: QuantizedModule, rows: dict[str, Row]) -> None:
        self.plan, self.module, self.rows = plan, module, rows
        self.nodes = {node.name: node for node in part.graph.nodes}
        spec = plan.engine.activation
        pairs = zip(module.fxq_scale.tolist(), module.fxq_zero_point.tolist(), strict=True)
        qparams = {group: QParams(*pair, spec.qmin, spec.qmax) for group, pair in enumerate(pairs)}
        of = {self.nodes[name]: row.group for name, row in rows.items() if row.group is not None}
        self.borders = Borders(plan, PartPlan(module.fxq_part, part, {}, Groups(of=of), {}, {}, {}, (), ()), qparams)

    def values(self, args: tuple[Any, ...]) -> dict[str, torch.Tensor]:
        sources = {node: name for name, node in last_of_sources(self.module).items()}
        values: dict[str, torch.Tensor] = {}

        def look(node: fx.Node, value: Any) -> Any:
            name = sources.get(node)
            if name is not None and node.op != "output" and (found := self._floats(name, value)) is not None:
                values[name] = found.clone()
            return value

        with torch.no_grad(), kept_random(), self.plan.engine.active():
            Tap(self.module, self.module.fxq_graph, look).run(*cloned((args, {}))[0])
        return values

    def _floats(self, name: str, value: Any) -> torch.Tensor | None:
        """The float tensor that a value is or stands for; None for a tuple, or inside a match."""
        row = self.rows[name]
        pattern = self.plan.registry.patterns.get(row.pattern)
        if row.quantized and not (pattern is not None and pattern.weight_only):
            inside = row.group is None or not isinstance(value, torch.Tensor)
            return None if inside else self.borders.floats(self.nodes[name], value)
        return value if _is_float(value) else None


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout is torch.strided and value.dtype is torch.float32


def _compared(row: Row, expected: torch.Tensor, found: torch.Tensor) -> ComparisonRow:
    about = (row.part, row.node, row.module, row.op, row.quantized)
    if expected.shape != found.shape:
        raise FxqError(
            f"model and qmodel don't belong together: {_told(row.part, row.node, row.op)} has shape "
            f"{list(expected.shape)} in model and {list(found.shape)} in qmodel; {WAY_OUT}"
        )
    return ComparisonRow(*about, sqnr(expected, found), cosine(expected, found), largest_error(expected, found))
