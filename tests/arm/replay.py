"""On Arm: quantize and load what record.py wrote, and print what differs. Run as ``replay.py FILE``.

The engine is never named here.
"""

from __future__ import annotations

import copy
import platform
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

import fxq_core as fxq
from fxq_core.tables import table

from subjects import ENGINE, import_demo, of_the_kit, values

HEADER = ("models", "number", "values", "of them other bits", "largest difference", "equal states", "equal results")


@dataclass(slots=True)
class Tally:
    """What came of some models.

    Attributes:
        values: compared with the other machine's state loaded.
        different: a line for each value that is not the same to the last bit.
        largest: the largest difference of two values, in codes where they are int8.
        states: models that, calibrated here, have the other machine's state to the last bit.
        results: those whose results have.
    """

    models: int = 0
    values: int = 0
    different: list[str] = field(default_factory=list)
    largest: float = 0.0
    states: list[str] = field(default_factory=list)
    results: int = 0

    def add(self, name: str, model: nn.Module, recorded: Mapping[str, Any], registry: fxq.Registry) -> nn.Module:
        """Quantize a model from scratch, then give it the recorded state; gives the model made from scratch."""
        model.load_state_dict(recorded["float"])
        scratch = _quantized(model, recorded["batches"], registry)
        loaded = copy.deepcopy(scratch)
        loaded.load_state_dict(recorded["state"])
        unlike = [key for key, value in scratch.state_dict().items() if not _same(value, recorded["state"][key])]
        self.models += 1
        if unlike:
            self.states.append(f"{name}: {_distance(scratch.state_dict(), recorded['state'], unlike)}")
        with torch.no_grad():
            self.results += _same(scratch(recorded["unseen"]), recorded["values"][-1][1])
        self._compare(name, values(loaded, recorded["unseen"], registry), recorded["values"])
        return scratch

    def row(self, whose: str) -> tuple[str, ...]:
        equal = self.models - len(self.states)
        numbers = self.models, self.values, len(self.different), f"{self.largest:.3g}", equal, self.results
        return whose, *map(str, numbers)

    def _compare(self, name: str, found: Any, expected: Any) -> None:
        self.values += len(expected)
        if [place for place, _ in found] != [place for place, _ in expected]:
            self.different.append(f"{name}: another graph")
            return
        for (place, value), (_, wanted) in zip(found, expected, strict=True):
            if not _same(value, wanted):
                most = float((value.double() - wanted.double()).abs().max())
                share = float((value != wanted).double().mean())
                self.largest = max(self.largest, most)
                self.different.append(f"{name}, {place}, {value.dtype}: {share:.2%} differ, at most by {most:.3g}")


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(_bits(one), _bits(other))


def _bits(value: torch.Tensor) -> torch.Tensor:
    return value.reshape(-1).contiguous().view(torch.uint8)


def _distance(state: Any, recorded: Any, keys: list[str]) -> str:
    largest = ((key, float((state[key].double() - recorded[key].double()).abs().max())) for key in keys)
    return ", ".join(f"{key} by {difference:.3g}" for key, difference in largest)


def _quantized(model: nn.Module, batches: list[torch.Tensor], registry: fxq.Registry) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        qmodel = fxq.quantize(model, batches, registry=registry)
    assert fxq.report(qmodel).engine == ENGINE
    return qmodel


def replay(file: str) -> str | None:
    """Prints what came of it; returns what broke the promise."""
    torch.set_num_threads(1)
    registry = fxq.load_plugins(strict=True)
    recorded = torch.load(file)
    print(
        f"{platform.machine()}, torch {torch.__version__} with engines "
        f"{', '.join(torch.backends.quantized.supported_engines)}, of which torch names "
        f"{torch.backends.quantized.engine}; recorded with torch {recorded['torch']}"
    )
    tallies = {"the kit's": Tally(), "the demo's": Tally()}
    kit = of_the_kit(registry)
    assert list(kit) == list(recorded["kit"])
    for name, subject in tqdm(kit.items(), unit="model"):
        tallies["the kit's"].add(name, subject.model, recorded["kit"][name], registry)
    rows = _demo(recorded["demo"], tallies["the demo's"], registry)
    for whose, tally in tallies.items():
        print(f"\n{whose} models with another state when they are calibrated here, by the largest difference:")
        print("\n".join(tally.states) or "none")
        print(f"\nvalues of {whose} models with other bits, with the recorded state loaded:")
        print("\n".join(tally.different) or "none")
    print(f"\n{table(('network', 'machine', 'float %', 'int8 %', 'SQNR dB'), rows)}\n")
    print(table(HEADER, [tally.row(whose) for whose, tally in tallies.items()]))
    different = sum(len(tally.different) for tally in tallies.values())
    return f"{different} values have other bits" if different else None


def _demo(recorded: Mapping[str, Any], tally: Tally, registry: fxq.Registry) -> list[tuple[str, ...]]:
    """The demo's networks, and their quality on both machines."""
    import_demo()
    from measure import quality
    from networks import NETWORKS

    images, rows = SimpleNamespace(test=recorded["test"], test_labels=recorded["test_labels"]), []
    for name, build in tqdm(NETWORKS.items(), unit="network"):
        model = build().eval()
        qmodel = tally.add(name, model, recorded["networks"][name], registry)
        found = quality(model, qmodel, images)
        here = found.float_accuracy, found.int8_accuracy, found.sqnr
        for machine, numbers in (("recorded", recorded["networks"][name]["quality"]), (platform.machine(), here)):
            rows.append((name, machine, *(f"{number:.2f}" for number in numbers)))
    return rows


if __name__ == "__main__":
    sys.exit(replay(sys.argv[1]))
