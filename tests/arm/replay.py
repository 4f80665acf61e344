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
from torch.utils._pytree import tree_map_only
from tqdm import tqdm

import fxq_core as fxq
from fxq_core.native.codes import codes_of
from fxq_core.tables import table

from subjects import ENGINE, import_demo, of_the_kit, plain, run

HEADER = ("models", "number", "values", "other bits, known", "unknown", "equal states", "equal results")
# in float, of the largest value
LAST_BITS = 1e-6
# where averages and quantizing meet numbers half-way between two codes
HALVES = ("quantize_per_tensor", "avg_pool", "mean")


@dataclass(slots=True)
class Tally:
    """What came of some models.

    Attributes:
        values: compared, each computed here from what the other machine computed before it.
        known: a line for each that differs as docs/arm.md says.
        unknown: a line for each that differs otherwise.
        states: a line for each model that, calibrated here, has another state.
        results: models that, calibrated here, have the other machine's result to the last bit.
    """

    models: int = 0
    values: int = 0
    known: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    results: int = 0

    def add(self, name: str, model: nn.Module, recorded: Mapping[str, Any], registry: fxq.Registry) -> nn.Module:
        """Quantize a model from scratch, then give a copy the recorded state; gives the model made from scratch."""
        model.load_state_dict(recorded["float"])
        scratch = _quantized(model, recorded["batches"], registry)
        unlike = [key for key, value in scratch.state_dict().items() if not _same(value, recorded["state"][key])]
        self.models += 1
        if unlike:
            self.states.append(f"{name}: {_distance(scratch.state_dict(), recorded['state'], unlike)}")
        with torch.no_grad():
            self.results += _same(scratch(recorded["unseen"]), recorded["result"])
        self._compare(name, scratch, recorded, registry)
        return scratch

    def _compare(self, name: str, scratch: nn.Module, recorded: Mapping[str, Any], registry: fxq.Registry) -> None:
        loaded, left, before = copy.deepcopy(scratch), list(recorded["values"]), len(self.known) + len(self.unknown)
        loaded.load_state_dict(recorded["state"])

        def look(place: str, value: Any) -> Any:
            def one(found: torch.Tensor) -> torch.Tensor:
                where, wanted = left.pop(0)
                assert where == place, f"{name} has node {place} where {where} was recorded"
                if self._note(f"{name}, {place}", plain(found), wanted):
                    return found
                # in the memory layout of what was found: kernels may depend on it
                copied = found.clone()
                (codes_of(copied) if copied.is_quantized else copied).copy_(wanted)
                return copied

            return tree_map_only(torch.Tensor, one, value)

        result = run(loaded, recorded["unseen"], registry, look)
        if len(self.known) + len(self.unknown) == before:
            self._note(f"{name}, result", result, recorded["result"])

    def _note(self, place: str, found: torch.Tensor, wanted: torch.Tensor) -> bool:
        """Count a value; whether it has the recorded bits."""
        self.values += 1
        if _same(found, wanted):
            return True
        most = float((found.double() - wanted.double()).abs().max())
        line = f"{place}: {float((found != wanted).double().mean()):.2%} of {found.dtype} differ, at most by {most:.3g}"
        if found.dtype == torch.float32:
            known = most <= LAST_BITS * float(wanted.abs().max())
        else:
            known = most <= 1 and any(word in place for word in HALVES)
        (self.known if known else self.unknown).append(line)
        return False

    def row(self, whose: str) -> tuple[str, ...]:
        equal = self.models - len(self.states)
        numbers = self.models, self.values, len(self.known), len(self.unknown), equal, self.results
        return whose, *map(str, numbers)


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
        print(f"\nvalues of {whose} models with other bits, from the same state and inputs:")
        print("\n".join(tally.known + tally.unknown) or "none")
    print(f"\n{table(('network', 'machine', 'float %', 'int8 %', 'SQNR dB'), rows)}\n")
    print(table(HEADER, [tally.row(whose) for whose, tally in tallies.items()]))
    unknown = [line for tally in tallies.values() for line in tally.unknown]
    return f"{len(unknown)} values have other bits than docs/arm.md explains" if unknown else None


def _demo(recorded: Mapping[str, Any], tally: Tally, registry: fxq.Registry) -> list[tuple[str, ...]]:
    """The demo's networks, and their quality on both machines."""
    import_demo()
    from cnns import NETWORKS
    from measure import quality

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
