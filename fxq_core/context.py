"""What an emitter works with: the inputs and the output of one match, and the ways to add nodes for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxq_core.builder import Builder
from fxq_core.capture.graphs import place, tensor_at
from fxq_core.correction import mean_shift
from fxq_core.observers.base import NonFiniteError
from fxq_core.observers.guard import guarded
from fxq_core.observers.qparams import bias_floor, within_limits
from fxq_core.types import Engine, Match, ObserverSpec, QParams, QSpec

NO_QPARAMS = QParams(1.0, 0, 0, 0)


class QWeight(NamedTuple):
    """A symmetric weight, and the bias that goes with it.

    ``values`` are int8 codes, ``scale`` is float32 of shape ``(channels,)`` with the channels at ``axis``, or of shape
    ``()`` with axis None. ``bias`` is float32 of shape ``(channels,)``, or None.
    """

    values: torch.Tensor
    scale: torch.Tensor
    axis: int | None
    bias: torch.Tensor | None = None

    def dequantize(self) -> torch.Tensor:
        """The float32 weight that the codes stand for."""
        return self.values.float() * _along(self.scale, self.axis, self.values.dim())


@dataclass(frozen=True, slots=True)
class LoweringContext:
    """One match on its way into the lowered graph.

    Attributes:
        match: the match, in nodes of the float graph.
        inputs: the nodes of the lowered graph that hold ``match.inputs``, in the engine's quantized form.
        input_qparams: their qparams.
        output: the qparams that the result must have; unpacks to ``scale, zero_point``. ``NO_QPARAMS`` where only
            the weight becomes int8.
        bounds: limits that every value with the output's qparams is clamped to.
        weight_input_scale: the smallest scale of an input that the match's first module takes, in any of its calls.
        weight_output_scale: the largest scale of a result that it gives, in any of its calls.
        engine: the engine that will run the result.
        weight: what is wanted of the match's weight, if it has one.
        input_mean: what the match's first module takes on average, see ``InputMean.mean``; None where its bias stays
            as it is.
        observers: the installed observers by name; ``quantize_weight`` finds that of ``weight`` there.
        builder: the lowered module while it is being built; the methods below are all that an emitter needs of it.
    """

    match: Match
    inputs: tuple[fx.Node, ...]
    input_qparams: tuple[QParams, ...]
    output: QParams
    bounds: tuple[float, float]
    weight_input_scale: float
    weight_output_scale: float
    engine: Engine
    weight: QSpec
    input_mean: torch.Tensor | None
    observers: Mapping[str, ObserverSpec]
    builder: Builder

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Add a call of a function that can be imported by name, or of a ``torch.ops`` operator."""
        return self.builder.graph.call_function(function, args, kwargs)

    def call_method(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Add a call of a method of the first argument."""
        return self.builder.graph.call_method(name, args, kwargs)

    def module(self, module: nn.Module, *args: Any, **kwargs: Any) -> fx.Node:
        """Put a module at the path of the match's first module, and add a call of it.

        Where several calls of one float module give equal modules, they share one.
        """
        path = next((str(n.target) for n in self.match.nodes if n.op == "call_module"), self.match.output.name)
        return self.builder.graph.call_module(self.builder.place(path, module), args, kwargs)

    def constant(self, value: torch.Tensor) -> fx.Node:
        """Keep a plain tensor as a buffer of the lowered module, and add a node that reads it."""
        return self.builder.constant(f"{self.match.output.name}_constant", value)

    def copy(self, computed: Mapping[fx.Node, fx.Node] = MappingProxyType({})) -> fx.Node:
        """Add the match's own nodes, as they are, over the quantized inputs: for ops that run on any dtype.

        ``computed`` gives the lowered nodes of those that the emitter has added itself.
        """
        quantized = {**dict(zip(self.match.inputs, self.inputs, strict=True)), **computed}
        for node in self.match.nodes:
            if node not in quantized:
                quantized[node] = self.builder.copy(node, quantized)
        return quantized[self.match.output]

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the match's first node in the lowered graph, as floats where they are tensors."""
        node = self.match.nodes[0]
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.builder.load)
        return tuple(args), dict(kwargs)

    def folds(self, low: float, high: float) -> bool:
        """Whether the output's own range already limits it to ``low`` to ``high``, so that no clamp is needed.

        That is so if everything that shares the output's qparams is clamped at least as tightly, and the outermost
        codes lie on the limits; the first is a fact of the graph and holds for every calibration.
        """
        scale, zero_point = self.output
        below = low == -math.inf or round(low / scale) + zero_point <= self.output.qmin
        above = high == math.inf or round(high / scale) + zero_point >= self.output.qmax
        return low <= self.bounds[0] and self.bounds[1] <= high and below and above

    def attribute(self) -> torch.Tensor:
        """The float tensor that the match's ``get_attr`` node reads."""
        tensor = tensor_at(self.builder.source, self.match.output)
        assert tensor is not None
        return tensor

    def quantize_weight(self, weight: torch.Tensor, bias: torch.Tensor | None = None, axis: int | None = 0) -> QWeight:
        """Quantize a weight as the plan wants it, with scales at which the bias fits the accumulator.

        Where the plan corrects the bias, that of the result makes up for the rounding of this weight.

        Args:
            weight: float32, as the match's first module holds it.
            bias: float32 of shape ``(channels,)``, or None.
            axis: where the output channels are, if the plan wants one scale for each; None for one scale in all.
        """
        spec = replace(self.weight, axis=None if self.weight.axis is None else axis)
        chosen = self.observers[spec.observer]
        with guarded(chosen, lambda: f"the weight of node {self.match.output.name!r}"):
            observer = chosen.build(spec)
            try:
                observer.observe(weight)
            except NonFiniteError as error:
                where = place(str(self.builder.root.fxq_part), self.match.output)
                raise NonFiniteError(f"the weight of {where} holds {error}; mend the model") from error
            scale = torch.as_tensor(observer.qparams().scale, dtype=torch.float32)
        if bias is not None:
            floor = bias_floor(bias.detach(), self.weight_input_scale)
            scale = torch.maximum(scale.double(), floor if spec.axis is not None else floor.max()).float()
        if not self.match.pattern.weight_only:
            scale = within_limits(scale, self.weight_input_scale, self.weight_output_scale)
        codes = torch.round(weight.detach() / _along(scale, spec.axis, weight.dim()))
        found = QWeight(codes.clamp(spec.qmin, spec.qmax).to(spec.dtype), scale, spec.axis)
        return found._replace(bias=self._corrected(found, weight, bias))

    def _corrected(self, found: QWeight, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor | None:
        if self.input_mean is None:
            return None if bias is None else bias.detach().clone()
        error = found.dequantize().double() - weight.detach().double()
        shift = mean_shift(self.match.modules[0], error, self.input_mean)
        return (-shift if bias is None else bias.detach().double() - shift).float()


def _along(scale: torch.Tensor, axis: int | None, rank: int) -> torch.Tensor:
    if axis is None:
        return scale
    return scale.reshape([-1 if dim == axis else 1 for dim in range(rank)])
