"""Compare an engine with the reference engine op by op: each gets the reference's inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

import fxq_core as fxq
from fxq_core.capture.calls import cloned, positional
from fxq_core.lowering import lower
from fxq_core.matching import Candidate
from fxq_core.quantized_module import SOURCE, QuantizedModule
from fxq_core.reference import REFERENCE


class _Recording(fx.Interpreter):
    def __init__(self, module: QuantizedModule) -> None:
        super().__init__(module, graph=module.fxq_graph)
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if SOURCE in n.meta:
            self.values[n.meta[SOURCE]] = result
        return result


class _Checking(fx.Interpreter):
    """Runs an engine's graph; after each op, puts the reference's codes in place of the op's own."""

    def __init__(self, module: QuantizedModule, expected: dict[str, Any]) -> None:
        super().__init__(module, graph=module.fxq_graph)
        self.expected = expected
        self.errors: dict[str, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if not isinstance(result, torch.Tensor) or not result.is_quantized:
            return result
        if SOURCE in n.meta:
            values = self.expected[n.meta[SOURCE]]
            assert result.shape == values.shape, n.name
            codes = torch.round(values / result.q_scale()) + result.q_zero_point()
            found = (codes - result.int_repr()).abs()
            self.errors[n.meta[SOURCE]] = max(
                self.errors.get(n.meta[SOURCE], 0), int(found.max()) if found.numel() else 0
            )
            exact = torch.empty_like(result.int_repr()).copy_(codes)
            return torch._make_per_tensor_quantized_tensor(exact, result.q_scale(), result.q_zero_point())
        return result


def on_reference(quantizer: fxq.Quantizer) -> Any:
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
        return lower(replace(quantizer.plan, engine=REFERENCE, parts=parts), quantizer._prepared)


def op_errors(lowered: nn.Module, reference: nn.Module, *inputs: Any, **named: Any) -> dict[str, int]:
    """The largest difference in codes between two lowerings of one plan, by part and node of the float graph."""
    parts = {path: module for path, module in reference.named_modules() if isinstance(module, QuantizedModule)}
    calls: dict[str, tuple[Any, ...]] = {}

    def watch(path: str) -> Any:
        def note(part: QuantizedModule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.setdefault(path, positional(part, *cloned((args, kwargs))))

        return note

    handles = [part.register_forward_pre_hook(watch(path), with_kwargs=True) for path, part in parts.items()]
    errors: dict[str, int] = {}
    with torch.no_grad():
        reference(*inputs, **named)
        for handle in handles:
            handle.remove()
        for path, args in calls.items():
            recording = _Recording(parts[path])
            recording.run(*cloned((args, {}))[0])
            part: Any = lowered.get_submodule(path)
            checking = _Checking(part, recording.values)
            with part._fxq_active():
                checking.run(*cloned((args, {}))[0])
            errors |= {f"{path}.{node}" if path else node: error for node, error in checking.errors.items()}
    return errors
