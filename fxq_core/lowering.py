"""Lowering: one sweep over each float graph that rebuilds it, quantizing and dequantizing lazily at the borders."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from fxq_core.builder import Builder
from fxq_core.capture import ATTRIBUTES, HOOKS, SIGNATURE
from fxq_core.capture.tracer import is_layer
from fxq_core.capture.values import value_of
from fxq_core.context import NO_QPARAMS, LoweringContext
from fxq_core.errors import CalibrationError, FxqError, PluginError
from fxq_core.families import CONSTANT, DEQUANTIZE, QUANTIZE
from fxq_core.matching import Candidate
from fxq_core.plan import PartPlan, Plan
from fxq_core.prepare import PreparedModel
from fxq_core.quantized_module import SOURCE, QuantizedModule, Scale, ZeroPoint
from fxq_core.report import REPORT, Report, make_report
from fxq_core.signatures import asks_for_shape
from fxq_core.types import Engine, Match, QParams


def lower(plan: Plan, prepared: PreparedModel) -> nn.Module:
    """The quantized model: lowers every part that calibration reached; the prepared model stays usable.

    Raises:
        CalibrationError: no batch was observed.
        PluginError: an emitter failed.
    """
    qparams = {path: part.qparams() for path, part in prepared.parts.items()}
    if prepared.parts and not any(part.batches for part in prepared.parts.values()):
        raise CalibrationError("the model was never calibrated; run calibrate(batches) or observe(batch) first")
    replaced: dict[int, Any] = {}
    # inner parts first, so that a copy of the module around one holds the lowered part
    for part in reversed(plan.parts):
        watched, found = prepared.parts[part.path], qparams[part.path]
        lowered = _float_copy(watched.model, replaced) if found is None else Sweep(plan, part, found, replaced).run()
        replaced[id(watched)] = lowered
    root = copy.deepcopy(prepared.root, replaced)
    report: Report = make_report(plan, qparams)
    if plan.engine.finish is not None:
        root = plan.engine.finish(root)
    root.requires_grad_(False)
    setattr(root, REPORT, report)
    return root


def _float_copy(part: fx.GraphModule, replaced: dict[int, Any]) -> nn.Module:
    """A part as it is; copying a graph module loses its hooks and attributes."""
    copied = copy.deepcopy(part, replaced)
    for name in HOOKS:
        setattr(copied, name, copy.copy(getattr(part, name)))
    for name, value in part.meta[ATTRIBUTES].items():
        if not hasattr(copied, name):
            setattr(copied, name, copy.deepcopy(value, replaced))
    return copied


# what may fail, or mean something else, in another memory layout
LAYOUT_CALLS = {"view", "view_as", "stride", "is_contiguous", "as_strided", "data_ptr", torch.as_strided}


class Sweep:
    """Rebuilds one graph: ``floats`` and ``quantized`` hold the lowered node of each value in either form."""

    def __init__(self, plan: Plan, part: PartPlan, qparams: Mapping[int, QParams], replaced: dict[int, Any]) -> None:
        self.plan, self.part = plan, part
        self.engine: Engine = plan.engine
        self.root = QuantizedModule(
            part.path, part.graph_module.meta[SIGNATURE], self.engine.name, self.engine.active, qparams
        )
        self.builder = Builder(part.graph_module, self.root, replaced, self.as_float)
        self.qparams = {
            group: QParams(Scale(found.scale, group), ZeroPoint(found.zero_point, group), found.qmin, found.qmax)
            for group, found in qparams.items()
        }
        self.layout_matters = any(map(self._sees_layout, part.graph_module.graph.nodes))
        # a layer that is called several times has one weight, whatever the calls take
        self.input_scales: dict[Any, float] = {}
        for match in (c.match for c in part.chosen.values() if not c.match.pattern.weight_only):
            target, scale = match.nodes[0].target, self.qparams[part.groups.of[match.inputs[0]]].scale
            self.input_scales[target] = min(scale, self.input_scales.get(target, scale))
        self.floats: dict[fx.Node, fx.Node] = {}
        self.quantized: dict[fx.Node, fx.Node] = {}

    def run(self) -> QuantizedModule:
        inner = {n for candidate in self.part.chosen.values() for n in candidate.match.nodes}
        with self.engine.active():
            for node in self.part.graph_module.graph.nodes:
                if node in self.part.chosen:
                    candidate = self.part.chosen[node]
                    form = self.floats if candidate.match.pattern.weight_only else self.quantized
                    form[node] = self._emit(candidate, node)
                elif node not in inner and node.op != "get_attr":
                    self.floats[node] = self._copy(node)
        source = self.part.graph_module
        self.root.fxq_set_graph(self.builder.graph)
        for name, value in source.meta[ATTRIBUTES].items():
            if not hasattr(self.root, name):
                setattr(self.root, name, copy.deepcopy(value, self.builder.replaced))
        for name in HOOKS:
            getattr(self.root, name).update(getattr(source, name))
        return self.root

    def as_float(self, value: fx.Node) -> fx.Node:
        if value not in self.floats:
            # a constant is added where it is first used, in the form in which it is used
            constant = value.op == "get_attr"
            self.floats[value] = self._copy(value) if constant else self._dequantized(value)
        return self.floats[value]

    def as_quantized(self, value: fx.Node) -> fx.Node:
        if value not in self.quantized:
            if value.op == "get_attr":
                self.quantized[value] = self.border(CONSTANT, value)
            else:
                self.quantized[value] = self.border(QUANTIZE, value, self.as_float(value))
        return self.quantized[value]

    def _copy(self, node: fx.Node) -> fx.Node:
        """Copy a float node."""
        if asks_for_shape(node):
            return self.builder.copy(node, self.quantized)
        return self.builder.copy(node, {})

    def _dequantized(self, value: fx.Node) -> fx.Node:
        """A quantized value as floats, in the memory layout it had in float where anybody may look at that."""
        floats = self.border(DEQUANTIZE, value, self.quantized[value])
        was = value_of(value)
        seen = self.layout_matters or any(user.op == "output" for user in value.users)
        if seen and was.contiguous and was.rank > 3:
            floats = self.builder.graph.call_method("contiguous", (floats,))
        return floats

    def _sees_layout(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return not is_layer(self.part.graph_module.get_submodule(str(node.target)))
        return node.target in LAYOUT_CALLS

    def border(self, name: str, value: fx.Node, *inputs: fx.Node) -> fx.Node:
        """Convert a value of the float graph from one form into the other; ``name`` is one of ``BORDERS``."""
        match = Match(self.plan.registry.patterns[name], (value,), (value,) * len(inputs), (None,))
        lowering = self.plan.registry.lowering(self.engine, name)
        assert lowering is not None, "the plan checks that the borders have lowerings"
        return self._call(Candidate(match, lowering), inputs)

    def _emit(self, candidate: Candidate, node: fx.Node) -> fx.Node:
        inputs = () if candidate.match.pattern.weight_only else candidate.match.inputs
        emitted = self._call(candidate, tuple(map(self.as_quantized, inputs)))
        emitted.meta.setdefault(SOURCE, node.name)
        return emitted

    def _call(self, candidate: Candidate, inputs: tuple[fx.Node, ...]) -> fx.Node:
        match, lowering, groups = candidate.match, candidate.lowering, self.part.groups
        group = groups.of.get(match.output, -1)  # none where only a weight becomes int8
        ctx = LoweringContext(
            match=match,
            inputs=inputs,
            input_qparams=tuple(self.qparams[groups.of[value]] for value in match.inputs) if inputs else (),
            output=self.qparams.get(group, NO_QPARAMS),
            weight_input_scale=self.input_scales.get(match.nodes[0].target, 1.0),
            bounds=groups.bounds.get(group, (-math.inf, math.inf)),
            engine=self.engine,
            weight=self.part.weights.get(match.output, self.engine.weight),
            observers=self.plan.registry.observers,
            builder=self.builder,
        )
        where = f"{lowering.provider}: the lowering of pattern {match.pattern.name!r} for engine {lowering.engine!r}"
        try:
            emitted = lowering.emit(match, ctx)
        except FxqError:
            raise
        except Exception as error:
            raise PluginError(
                f"{where} failed at node {match.output.name!r} with {type(error).__name__}: {error}; "
                f"skip the node with Config(skip=({match.pattern.name!r},)) until the plugin is mended"
            ) from error
        if not isinstance(emitted, fx.Node):
            raise PluginError(f"{where} returned {emitted!r}, which is no node; return what ctx.call(...) gives")
        return emitted
