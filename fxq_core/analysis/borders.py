"""Conversions between floats and whatever form an engine holds its codes in, by the engine's own lowerings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from fxq_core.families import CONSTANT, DEQUANTIZE, QUANTIZE
from fxq_core.plan import PartPlan, Plan
from fxq_core.sweep import Sweep
from fxq_core.types import QParams


class Borders:
    """Converts the values of one part of a plan, as its lowered graph does.

    Args:
        plan: says which engine.
        part: the part whose values are converted.
        qparams: of every group of the part's values.
    """

    def __init__(self, plan: Plan, part: PartPlan, qparams: Mapping[int, QParams]) -> None:
        self.plan, self.part, self.qparams = plan, part, qparams
        self._made: dict[tuple[str, fx.Node], nn.Module] = {}

    def of(self, value: fx.Node) -> QParams:
        """The qparams of a value of the float graph."""
        return self.qparams[self.part.groups.of[value]]

    def quantized(self, value: fx.Node, floats: torch.Tensor) -> Any:
        """Floats in the engine's form, with the qparams of ``value``."""
        return self._converter(QUANTIZE, value)(floats)

    def floats(self, value: fx.Node, held: Any) -> torch.Tensor:
        """The float32 numbers that ``held``, in the engine's form, stands for."""
        result: torch.Tensor = self._converter(DEQUANTIZE, value)(held)
        return result

    def constant(self, value: fx.Node) -> Any:
        """The tensor that a ``get_attr`` node of the float graph reads, in the engine's form."""
        return self._converter(CONSTANT, value)()

    def _converter(self, name: str, value: fx.Node) -> nn.Module:
        """A lowered module of one conversion, made by the very sweep that lowers models."""
        if (name, value) not in self._made:
            sweep = Sweep(self.plan, self.part, self.qparams, {}, {})
            graph = sweep.builder.graph
            with self.plan.engine.active():
                inputs = () if name == CONSTANT else (graph.placeholder("x"),)
                graph.output(sweep.border(name, value, *inputs))
            sweep.root.fxq_set_graph(graph)
            self._made[name, value] = sweep.root
        return self._made[name, value]
