"""What a search for a budget did, as plain data that travels with the report."""

from __future__ import annotations

from dataclasses import dataclass

from fxq_core import tables


@dataclass(frozen=True, slots=True)
class Step:
    """One model that was tried.

    Attributes:
        floats: the nodes that it keeps in float, in the order of their cost.
        metric: what it reached.
        within: whether that is within the budget.
    """

    floats: tuple[str, ...]
    metric: float
    within: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """A search for the fewest nodes to keep in float.

    Attributes:
        max_drop: how far the metric may be below that of the float model.
        reference: the metric of the float model.
        floats: the nodes kept in float in the end.
        steps: every model that was tried, in order.
    """

    max_drop: float
    reference: float
    floats: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def metric(self) -> float:
        """The metric of the result."""
        return next(step.metric for step in self.steps if step.floats == self.floats)

    def __str__(self) -> str:
        title = (
            f"budget: metric {self.metric:.6g}, in float {self.reference:.6g}, max_drop={self.max_drop:g}; "
            f"{len(self.floats)} kept in float after {len(self.steps)} {'try' if len(self.steps) == 1 else 'tries'}"
        )
        rows = [
            (number, len(step.floats), f"{step.metric:.6g}", "yes" if step.within else "no", ", ".join(step.floats))
            for number, step in enumerate(self.steps, 1)
        ]
        return f"{title}\n{tables.table(('try', 'in float', 'metric', 'within', 'which'), rows)}"
