"""What both machines quantize, and all that a quantized model computes on the way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

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


def values(qmodel: nn.Module, x: torch.Tensor, registry: fxq.Registry) -> list[tuple[str, torch.Tensor]]:
    """Each tensor that a model computes, with its place: codes where they are int8; last what a plain call returns."""
    found: list[tuple[str, torch.Tensor]] = []

    def look(node: fx.Node, value: Any) -> Any:
        found.extend((node.name, _plain(leaf)) for leaf in _tensors(value))
        return value

    graph: Any = qmodel
    with torch.no_grad():
        with registry.engines[ENGINE].active():
            Tap(graph, graph.fxq_graph, look).run(x.clone())
        found.extend(("result", leaf) for leaf in _tensors(qmodel(x.clone())))
    return found


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor))


def _plain(value: torch.Tensor) -> torch.Tensor:
    return value.int_repr() if value.is_quantized else value.clone()
