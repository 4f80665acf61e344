"""What tuning found and chose: plain data."""

from __future__ import annotations

from dataclasses import dataclass

from fxq_core import tables


@dataclass(frozen=True, slots=True)
class TunedStep:
    """One step that could be computed in several ways.

    Attributes:
        module: the path of the module that computes it.
        op: the module's type.
        times: each alternative, the one that was in use first, with its microseconds in one run of the model: the
            sum over all calls; that of another way is what it takes there with what it costs the next step, less what
            may be chance.
        choice: the alternative in use now.
    """

    module: str
    op: str
    times: tuple[tuple[str, float], ...]
    choice: str


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The machine, and one ``TunedStep`` for each step with alternatives, in graph order."""

    machine: str
    steps: tuple[TunedStep, ...]

    def __str__(self) -> str:
        changed = sum(step.choice != step.times[0][0] for step in self.steps)
        lines = [f"{self.machine}: {changed} of {len(self.steps)} steps changed"]
        if self.steps:
            lines.append(tables.table(("module", "op", "times in us", "choice"), map(_cells, self.steps)))
        return "\n".join(lines)


def _cells(step: TunedStep) -> tuple[object, ...]:
    times = ", ".join(f"{name} {time:.1f}" for name, time in step.times)
    return step.module, step.op, times, step.choice
