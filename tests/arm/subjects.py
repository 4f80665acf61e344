"""What both machines quantize, and how they look at all that a quantized model computes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.tap import Tap
from fxq_core.testing.networks import NETWORKS
from fxq_core.testing.samples import SAMPLES

ENGINE = "qnnpack"
DEMO = Path(__file__).parents[2] / "examples" / "demo"
CALIBRATION_BATCHES, BATCH = 3, 16
UNSEEN_SEED = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """A float model, batches to calibrate it with, and one that it has not seen."""

    model: nn.Module
    batches: list[torch.Tensor]
    unseen: torch.Tensor


def of_the_kit(registry: fxq.Registry) -> dict[str, Subject]:
    """The conformance kit's samples of all that the engine lowers, and its networks."""
    engine = registry.engines[ENGINE]
    found: dict[str, Any] = {f"sample {n}": s for n, s in SAMPLES.items() if registry.lowering(engine, s.pattern)}
    found |= {f"network {name}": network for name, network in NETWORKS.items()}
    return {
        name: Subject(
            subject.model(),
            [subject.batch(BATCH, seed) for seed in range(CALIBRATION_BATCHES)],
            subject.batch(BATCH, UNSEEN_SEED),
        )
        for name, subject in found.items()
    }


def import_demo() -> None:
    """Makes the modules of the demo importable."""
    sys.path.append(str(DEMO))


def run(qmodel: nn.Module, x: torch.Tensor, registry: fxq.Registry, look: Callable[[str, Any], Any]) -> torch.Tensor:
    """Call a model; then run it node by node, where ``look`` gives what the next nodes take for a value."""
    graph: Any = qmodel
    with torch.no_grad():
        result: torch.Tensor = qmodel(x.clone())
        with registry.engines[ENGINE].active():
            Tap(graph, graph.fxq_graph, lambda node, value: look(node.name, value)).run(x.clone())
    return result


def plain(value: torch.Tensor) -> torch.Tensor:
    """The codes of an int8 tensor; a float one as it is."""
    return value.int_repr() if value.is_quantized else value.clone()
