"""The one sweep over a float graph that rebuilds it, quantizing and dequantizing lazily at the borders."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import fx

from fxq_core.builder import Builder
from fxq_core.capture import ATTRIBUTES, HOOKS, SIGNATURE
from fxq_core.capture.graphs import place
from fxq_core.capture.tracer import is_layer
from fxq_core.capture.values import KEY, value_of
from fxq_core.context import NO_QPARAMS, LoweringContext
from fxq_core.errors import FxqError, PluginError, blamed, one_line, shown
from fxq_core.families import CONSTANT, DEQUANTIZE, QUANTIZE
from fxq_core.matching import Candidate
from fxq_core.plan import PartPlan, Plan
from fxq_core.quantized_module import SOURCE, QuantizedModule, Scale, ZeroPoint
from fxq_core.signatures import asks_for_shape
from fxq_core.types import Engine, Lowering, Match, QParams

# what may fail, or mean something else, in another memory layout
LAYOUT_CALLS = {"view", "view_as", "stride", "is_contiguous", "as_strided", "data_ptr", torch.as_strided}


ANOTHER_ENGINE = "take another engine"
UNLIMITED = (-math.inf, math.inf)


class EmitError(PluginError):
    """A lowering could not add its nodes: ``failure`` says why, for its node's row; ``told`` also whose and where."""

    def __init__(self, lowering: Lowering, node: str, pattern: str, error: BaseException) -> None:
        self.failure = f"its lowering failed with {one_line(error)}"
        who = f"{lowering.provider}: the lowering of pattern {pattern!r} for engine {lowering.engine!r}"
        self.told = f"{who} failed at {node} with {one_line(error)}"
        super().__init__(f"{self.told}; skip the node with Config(skip=({pattern!r},)) until the plugin is mended")


def engine_blamed(engine: Engine, what: str) -> AbstractContextManager[None]:
    """Attribute what fails inside to the plugin that brings an engine, which was to do something."""
    return blamed(lambda: f"{engine.provider}: engine {engine.name!r} failed to {what}", ANOTHER_ENGINE)


def _input_ranges(part: PartPlan, qparams: Mapping[int, QParams]) -> dict[str, tuple[float, float]]:
    """By path, what the layers whose bias is corrected can take in any of their calls: int8 clips what is beyond."""
    found: dict[str, tuple[float, float]] = {}
    for output, path in part.corrected.items():
        match = part.chosen[output].match
        if not match.pattern.weight_only:
            given = qparams[part.groups.of[match.inputs[0]]]
            least, most = ((code - given.zero_point) * given.scale for code in (given.qmin, given.qmax))
            low, high = found.get(path, (least, most))
            found[path] = min(low, least), max(high, most)
    return found


class Sweep:
    """Rebuilds one graph: ``floats`` and ``quantized`` hold the lowered node of each value in either form.

    ``means`` is, by path, what layers take on average whose bias is corrected.
    """

    def __init__(
        self,
        plan: Plan,
        part: PartPlan,
        qparams: Mapping[int, QParams],
        means: Mapping[str, torch.Tensor],
        replaced: dict[int, Any],
    ) -> None:
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
        self.output_scales: dict[Any, float] = {}
        for match in (c.match for c in part.chosen.values() if not c.match.pattern.weight_only):
            target, scale = match.nodes[0].target, self.qparams[part.groups.of[match.inputs[0]]].scale
            self.input_scales[target] = min(scale, self.input_scales.get(target, scale))
            scale = self.qparams[part.groups.of[match.output]].scale
            self.output_scales[target] = max(scale, self.output_scales.get(target, scale))
        ranges = _input_ranges(part, qparams)
        self.means = {path: mean.clamp(*ranges.get(path, UNLIMITED)) for path, mean in means.items()}
        self.floats: dict[fx.Node, fx.Node] = {}
        self.quantized: dict[fx.Node, fx.Node] = {}
        self.failed: dict[fx.Node, EmitError] = {}

    def run(self) -> QuantizedModule:
        inner = {n for candidate in self.part.chosen.values() for n in candidate.match.nodes}
        with contextlib.ExitStack() as stack:
            with engine_blamed(self.engine, "become active"):
                stack.enter_context(self.engine.active())
            for node in self.part.graph_module.graph.nodes:
                if node in self.part.chosen:
                    self._lower(self.part.chosen[node], node)
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
        try:
            return self._call(Candidate(match, lowering), inputs)
        except EmitError as error:
            raise PluginError(f"{error.told}; {ANOTHER_ENGINE} until the plugin is mended") from error.__cause__

    def _lower(self, candidate: Candidate, node: fx.Node) -> None:
        match = candidate.match
        inputs = tuple(map(self.as_quantized, () if match.pattern.weight_only else match.inputs))
        try:
            emitted = self._call(candidate, inputs)
        except EmitError as error:
            if self.plan.registry.strict:
                raise
            # what the emitter left behind makes this graph worthless; it goes on to find what else fails
            self.failed[node] = error
            for inner in match.nodes:
                self.floats[inner] = self._copy(inner)
            return
        emitted.meta.setdefault(SOURCE, node.name)
        emitted.meta.setdefault(KEY, value_of(node))
        (self.floats if match.pattern.weight_only else self.quantized)[node] = emitted

    def _call(self, candidate: Candidate, inputs: tuple[fx.Node, ...]) -> fx.Node:
        match, lowering, groups = candidate.match, candidate.lowering, self.part.groups
        group = groups.of.get(match.output, -1)  # none where only a weight becomes int8
        ctx = LoweringContext(
            match=match,
            inputs=inputs,
            input_qparams=tuple(self.qparams[groups.of[value]] for value in match.inputs) if inputs else (),
            output=self.qparams.get(group, NO_QPARAMS),
            weight_input_scale=self.input_scales.get(match.nodes[0].target, 1.0),
            weight_output_scale=self.output_scales.get(match.nodes[0].target, 1.0),
            bounds=groups.bounds.get(group, (-math.inf, math.inf)),
            engine=self.engine,
            weight=self.part.weights.get(match.output, self.engine.weight),
            input_mean=self.means.get(self.part.corrected.get(match.output, "")),
            observers=self.plan.registry.observers,
            builder=self.builder,
        )
        try:
            emitted = lowering.emit(match, ctx)
            if not isinstance(emitted, fx.Node):
                raise TypeError(f"it returned {shown(emitted)}, which is no node; return what ctx.call(...) gives")
        except FxqError:
            raise
        except (Exception, SystemExit) as error:
            raise EmitError(lowering, place(self.part.path, match.output), match.pattern.name, error) from error
        return emitted
