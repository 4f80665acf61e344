"""For one network after the other: start the systems, let them take turns, stop them."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from speed.models import Model, settled, size
from speed.process import Process, WorkerError
from speed.rounds import take_turns
from speed.stats import cells, significant
from speed.systems import BASELINE, System

BUILD_SECONDS = 120


@dataclass(slots=True)
class Measured:
    """Of one network: its size; per system what building cost; per batch size and system the times; what failed."""

    size: dict[str, float]
    built: dict[str, dict[str, float]] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Runner:
    """How to measure; ``say`` takes a line of progress."""

    threads: int
    rounds: int
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    folders: tuple[Path, ...] = ()

    def measure(self, name: str, model: Model, systems: Mapping[str, System], batches: Sequence[int]) -> Measured:
        """One network on all systems; they are built one by one, and then all take turns."""
        found = Measured(size(model))
        start = time.monotonic()
        with _weights(model) as weights, _stopped({}) as processes:
            for system, entry in systems.items():
                request = {"builder": entry.builder, "options": dict(entry.options), "model": name}
                self._build(processes, system, {**request, "weights": weights, "threads": self.threads}, found)
            for batch in batches:
                self._time(processes, batch, found, name)
            for system in list(processes):
                self._free(processes, system, found, name)
        self.say(f"{name}: {time.monotonic() - start:.0f} s in all")
        return found

    def _build(self, processes: dict[str, Process], system: str, request: dict[str, Any], found: Measured) -> None:
        start = time.monotonic()
        processes[system] = Process(self.threads, self.folders)
        try:
            answer = processes[system].ask("build", seconds=BUILD_SECONDS, **request)
        except WorkerError as error:
            self._failed(processes, system, str(error), found, request["model"])
            return
        found.built[system] = {name: significant(value) for name, value in answer.items()}
        self.say(f"{request['model']}: built {system} in {time.monotonic() - start:.1f} s")

    def _time(self, processes: dict[str, Process], batch: int, found: Measured, name: str) -> None:
        ms: dict[str, float] = {}
        for system in list(processes):
            try:
                first = processes[system].ask("bind", seconds=BUILD_SECONDS, batch=batch)
            except WorkerError as error:
                self._failed(processes, system, str(error), found, name)
                continue
            ms[system] = first["ms"]
            found.built[system].setdefault("first_ms", significant(first["first_ms"]))
        start = time.monotonic()
        times, failures = take_turns(processes, ms, batch, self.rounds)
        for system, reason in failures.items():
            self._failed(processes, system, reason, found, name)
        found.batches[str(batch)] = cells(times, BASELINE)
        self.say(f"{name}: {self.rounds} rounds of batch {batch} in {time.monotonic() - start:.0f} s")

    def _free(self, processes: dict[str, Process], system: str, found: Measured, name: str) -> None:
        try:
            found.built[system]["resident_mb"] = significant(processes[system].ask("free"))
        except WorkerError as error:
            self._failed(processes, system, str(error), found, name)

    def _failed(self, processes: dict[str, Process], system: str, reason: str, found: Measured, name: str) -> None:
        processes.pop(system).stop()
        found.failures[system] = reason
        self.say(f"{name}: {system} can't: {reason}")


@contextmanager
def _stopped(processes: dict[str, Process]) -> Iterator[dict[str, Process]]:
    """Whatever happens, none of these outlives its network."""
    try:
        yield processes
    finally:
        for process in processes.values():
            process.stop()


@contextmanager
def _weights(model: Model) -> Iterator[str]:
    """A file with the state dict that all systems start from."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pt"
        torch.save(settled(model), file)
        yield str(file)
