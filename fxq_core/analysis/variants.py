"""One calibrated plan with any of its matches left in float: lowered anew, but neither planned nor calibrated again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn

from fxq_core.capture.calls import kept_random
from fxq_core.capture.graphs import module_path
from fxq_core.capture.values import value_of
from fxq_core.discovery import CORE
from fxq_core.lowering import Calibration, calibration, lower
from fxq_core.matching import Refusal
from fxq_core.placement import worthwhile
from fxq_core.plan import ONLY_CONVERSIONS, PartPlan, Plan, all_float, without
from fxq_core.prepare import PreparedModel

ALONE = Refusal("only another node is to be in int8", CORE)
FLOAT = Refusal("everything is to be in float", CORE)


@dataclass(frozen=True, slots=True)
class Unit:
    """What is in int8 or in float as a whole: a match, with those that pick from its result if that is a tuple.

    Attributes:
        part: the path of the part.
        outputs: the last nodes of its matches, in graph order.
        node, module, pattern: the names of these nodes, the paths of their modules and their patterns, without
            repetition and separated by commas.
    """

    part: str
    outputs: tuple[fx.Node, ...]
    node: str
    module: str
    pattern: str

    @property
    def name(self) -> str:
        """The nodes as messages name them: with the path of the part."""
        return f"{self.part}: {self.node}" if self.part else self.node


class Variants:
    """Lowers a calibrated plan with some of its units in float.

    Each time costs what lowering costs, which grows with the model as a forward does, and holds a copy of the
    model's weights as long as the result lives.

    Attributes:
        units: what may be in either form, in graph order.
    """

    def __init__(self, plan: Plan, prepared: PreparedModel) -> None:
        self.plan, self.prepared = plan, prepared
        self.qparams: Calibration = calibration(prepared)
        reached = [part for part in plan.parts if self.qparams[part.path] is not None]
        self.units = tuple(unit for part in reached for unit in _units(part))

    def lowered(self, floats: Iterable[Unit], refusal: Refusal) -> nn.Module:
        """The quantized model, but for some units that stay in float, with a reason for the report.

        What is no longer worth its conversions stays in float, too, as in any plan.
        """
        return self._lowered(_worthwhile(self._without(floats, refusal)))

    def alone(self, unit: Unit) -> nn.Module:
        """The model with one unit in int8, whatever conversions that takes."""
        return self._lowered(self._without([other for other in self.units if other is not unit], ALONE))

    def _without(self, units: Iterable[Unit], refusal: Refusal) -> Plan:
        outputs = {output for unit in units for output in unit.outputs}
        return without(self.plan, lambda part: {node: refusal for node in part.chosen if node in outputs})

    def _lowered(self, plan: Plan) -> nn.Module:
        with torch.no_grad(), kept_random():
            return lower(plan, self.prepared, self.qparams)


def float_model(plan: Plan, prepared: PreparedModel) -> nn.Module:
    """The model with nothing in int8, in the form that a quantized one has; needs no calibration."""
    with torch.no_grad(), kept_random():
        return lower(all_float(plan, FLOAT), prepared, {path: {} for path in prepared.parts})


def _worthwhile(plan: Plan) -> Plan:
    refusal = Refusal(ONLY_CONVERSIONS, CORE)

    def idle(part: PartPlan) -> dict[fx.Node, Refusal]:
        kept = worthwhile(part.chosen)
        return {output: refusal for output in part.chosen if output not in kept}

    return without(plan, idle)


def _units(part: PartPlan) -> list[Unit]:
    members: dict[fx.Node, list[fx.Node]] = {}
    for output, candidate in part.chosen.items():
        # a tuple is never converted; what takes one takes no more than that
        tuples = [v for v in candidate.match.inputs if v in part.chosen and value_of(v).kind == "tensors"]
        members[output] = members[tuples[0]] if tuples else []
        members[output].append(output)
    return [_unit(part, outputs) for output, outputs in members.items() if outputs[0] is output]


def _unit(part: PartPlan, outputs: list[fx.Node]) -> Unit:
    modules = (module_path(part.path, node) for node in outputs)
    patterns = (part.chosen[node].match.pattern.name for node in outputs)
    texts = (", ".join(dict.fromkeys(names)) for names in ((n.name for n in outputs), modules, patterns))
    return Unit(part.path, tuple(outputs), *texts)
