"""Taking turns, burst by burst, so that what the machine does meanwhile hits every system alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from speed.process import Process, WorkerError

BURST_MS = 100.0
CALLS = 50
# a system this slow needs no warm-up within a burst, and sits rounds out
SLOW_MS = 100.0
BUDGET_MS = 4000.0
FEWEST_ROUNDS = 3
# until the threads of the system whose turn is over, which spin for a while, are asleep
PAUSE_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Burst:
    """How many calls, after one that is not timed where ``warm``, and in how many rounds."""

    calls: int
    warm: bool
    rounds: int


def burst(ms: float, rounds: int) -> Burst:
    """What fits a call of so many milliseconds."""
    if ms > SLOW_MS:
        return Burst(1, False, min(rounds, max(FEWEST_ROUNDS, int(BUDGET_MS / ms))))
    return Burst(max(2, min(CALLS, int(BURST_MS / ms))), True, rounds)


def take_turns(
    processes: Mapping[str, Process], ms: Mapping[str, float], batch: int, rounds: int
) -> tuple[dict[str, list[float | None]], dict[str, str]]:
    """Of each system, its time in ms per round; and of those that failed, why.

    Every round begins with another system, so that none always follows the same one.
    """
    bursts = {system: burst(ms[system], rounds) for system in processes}
    times: dict[str, list[float | None]] = {system: [] for system in processes}
    failures: dict[str, str] = {}
    order = list(processes)
    for number in range(rounds):
        for system in order[number % len(order) :] + order[: number % len(order)]:
            own, time_ms = bursts[system], None
            if system not in failures and number < own.rounds:
                try:
                    time_ms = processes[system].ask("burst", batch=batch, calls=own.calls, warm=own.warm)
                except WorkerError as error:
                    failures[system] = str(error)
                time.sleep(PAUSE_SECONDS)
            times[system].append(time_ms)
    return {system: own for system, own in times.items() if system not in failures}, failures
