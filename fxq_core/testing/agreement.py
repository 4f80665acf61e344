"""Compare an engine with the reference engine op by op: each op gets the reference's inputs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from fxq_core.analysis.borders import Borders
from fxq_core.analysis.tap import Tap, first_calls, last_of_sources
from fxq_core.capture.calls import cloned
from fxq_core.capture.values import value_of
from fxq_core.errors import AccuracyWarning
from fxq_core.lowering import calibration, lower
from fxq_core.matching import Candidate
from fxq_core.plan import PartPlan
from fxq_core.quantize import Quantizer
from fxq_core.quantized_module import SOURCE, QuantizedModule
from fxq_core.reference import REFERENCE
from fxq_core.types import QParams

# the numbers of a table whose weight alone is int8 are compared in steps of this share of the largest of them
TABLE_STEPS = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far an op's result is from the reference engine's.

    Attributes:
        codes: the largest difference, in codes.
        at: where it is, an index into ``shape``.
        found, wanted: the codes there.
        beyond: how many elements are more than one code off.
    """

    codes: int
    at: tuple[int, ...]
    shape: tuple[int, ...]
    found: int
    wanted: int
    beyond: int

    def __str__(self) -> str:
        return (
            f"{self.codes} code{'' if self.codes == 1 else 's'} off at {list(self.at)} of shape {list(self.shape)}: "
            f"{self.found} where the reference engine gives {self.wanted}; more than one off: {self.beyond} of "
            f"{torch.Size(self.shape).numel()} elements"
        )


def difference(found: torch.Tensor, wanted: torch.Tensor) -> Difference:
    """Compare codes, which are whole numbers in any dtype, of one shape."""
    apart = (found.double() - wanted.double()).abs()
    # a result that is no number is as far off as can be
    apart = apart.nan_to_num(nan=2.0**31, posinf=2.0**31).clamp(max=2.0**31)
    if not apart.numel():
        return Difference(codes=0, at=(), shape=tuple(apart.shape), found=0, wanted=0, beyond=0)
    flat = int(apart.argmax())
    at = tuple(int(index) for index in torch.unravel_index(torch.tensor(flat), apart.shape))
    codes = [int(value.double().nan_to_num().flatten()[flat]) for value in (apart, found, wanted)]
    beyond = int((apart > 1).sum())
    return Difference(codes=codes[0], at=at, shape=tuple(apart.shape), found=codes[1], wanted=codes[2], beyond=beyond)


class _Checking:
    """Looks on while an engine's graph runs; after each op, puts the reference's codes in place of the op's own."""

    def __init__(self, module: QuantizedModule, part: PartPlan, borders: Borders, expected: Mapping[str, Any]) -> None:
        self.borders, self.expected = borders, expected
        # an emitter may add several nodes for one: the last is what it returned
        last = last_of_sources(module)
        self.results = {last[value.name]: value for value in part.chosen if value.name in last}
        self.weight_only = {value for value, c in part.chosen.items() if c.match.pattern.weight_only}
        self.found: dict[str, Difference] = {}
        self.misshapen: str | None = None

    def look(self, n: fx.Node, result: Any) -> Any:
        value = self.results.get(n)
        if value is None or value_of(value).kind == "tensors":  # the parts of a tuple are compared where they are used
            return result
        wanted = self.expected[value.name]
        if value in self.weight_only:
            step = float(wanted.abs().max()) / TABLE_STEPS if wanted.numel() else 1.0
            self._note(value, torch.round(result / step), torch.round(wanted / step))
            return wanted
        scale, zero_point = self.borders.of(value)
        floats = self.borders.floats(value, result)
        self._note(value, torch.round(floats / scale) + zero_point, torch.round(wanted / scale) + zero_point)
        # in the memory layout of the result
        like = floats if floats.shape == wanted.shape else wanted
        return self.borders.quantized(value, torch.empty_like(like).copy_(wanted))

    def _note(self, value: fx.Node, found: torch.Tensor, wanted: torch.Tensor) -> None:
        if found.shape != wanted.shape:
            self.misshapen = self.misshapen or (
                f"node {value.name!r} has shape {list(found.shape)} where the reference engine gives "
                f"{list(wanted.shape)}"
            )
            return
        new, old = difference(found, wanted), self.found.get(value.name)
        self.found[value.name] = new if old is None or new.codes > old.codes else old


def on_reference(quantizer: Quantizer) -> nn.Module:
    """What a calibrated quantizer would give on the reference engine, by the very plan of its own engine."""
    registry = quantizer.plan.registry

    def lowered_by_reference(candidate: Candidate) -> Candidate:
        lowering = registry.lowering(REFERENCE, candidate.match.pattern.name)
        assert lowering is not None
        return Candidate(candidate.match, lowering)

    parts = tuple(
        replace(part, chosen={output: lowered_by_reference(c) for output, c in part.chosen.items()})
        for part in quantizer.plan.parts
    )
    with torch.no_grad():
        prepared = quantizer._prepared
        return lower(replace(quantizer.plan, engine=REFERENCE, parts=parts), prepared, calibration(prepared))


def lowered_by(quantizer: Quantizer) -> nn.Module:
    """What a quantizer gives; how far it is from float is for the checks to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        return quantizer.quantize()


class Agreement:
    """A calibrated quantizer's result beside what the reference engine makes of the same plan and ranges.

    Attributes:
        lowered: the quantized model, on the engine that the quantizer was made for.
        reference: the same on the reference engine.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        self.plan = quantizer.plan
        self.lowered, self.reference = lowered_by(quantizer), on_reference(quantizer)
        self._borders: dict[str, tuple[PartPlan, Borders]] = {}
        for part in self.plan.parts:
            qparams: Mapping[int, QParams] | None = quantizer._prepared.parts[part.path].qparams()
            if qparams is not None:
                self._borders[part.path] = part, Borders(self.plan, part, qparams)

    def differences(self, *inputs: Any, **named: Any) -> dict[str, Difference]:
        """The largest difference of each op that the inputs reach, by part and node of the float graph.

        Raises:
            AssertionError: a result has another shape.
        """
        modules = {path: m for path, m in self.reference.named_modules() if isinstance(m, QuantizedModule)}
        calls = first_calls(self.reference, modules, (inputs, named))
        with torch.no_grad():
            return {
                f"{path}.{node}" if path else node: found
                for path, args in calls.items()
                for node, found in self._of_part(path, modules[path], args).items()
            }

    def _of_part(self, path: str, reference: QuantizedModule, args: tuple[Any, ...]) -> dict[str, Difference]:
        part, borders = self._borders[path]
        expected: dict[str, Any] = {}

        def record(node: fx.Node, value: Any) -> Any:
            if SOURCE in node.meta:
                expected[node.meta[SOURCE]] = value
            return value

        Tap(reference, reference.fxq_graph, record).run(*cloned((args, {}))[0])
        module: Any = self.lowered.get_submodule(path)
        checking = _Checking(module, part, borders, expected)
        with self.plan.engine.active():
            Tap(module, module.fxq_graph, checking.look).run(*cloned((args, {}))[0])
        if checking.misshapen is not None:
            raise AssertionError(checking.misshapen)
        return checking.found
