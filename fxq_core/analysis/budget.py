"""The fewest nodes in float that keep a metric within a budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import nn
from tqdm import tqdm

from fxq_core.analysis.judges import Metric, check_metric, measured
from fxq_core.analysis.ranking import rank_by_noise
from fxq_core.analysis.trail import Budget, Step
from fxq_core.analysis.variants import Unit, Variants, float_model
from fxq_core.capture.calls import Arguments, as_arguments, cloned
from fxq_core.errors import ConfigError, shown
from fxq_core.matching import Refusal
from fxq_core.plan import Plan
from fxq_core.prepare import PreparedModel
from fxq_core.report import store

# the order of the nodes settles after few batches, and each costs a forward for every node
RANKING_BATCHES = 8


def check_budget(max_drop: Any, metric: Any, tune: bool) -> None:
    """Refuse what is no budget.

    Args:
        tune: whether the steps of the result are to be tuned.

    Raises:
        ConfigError: one of the first two is missing, or not what it should be; or ``tune``, after which the metric may
            be another.
    """
    if max_drop is None:
        raise ConfigError("metric= has no effect without max_drop=; pass both, or neither")
    if metric is None:
        raise ConfigError(
            "max_drop= needs metric=, a function that takes a model and returns a number, the higher the better"
        )
    if tune:
        raise ConfigError(
            "max_drop= holds for the model as measured, and Config(tune=True) may round it otherwise; "
            "call fxq_core.tune(qmodel, *inputs) on the result, and measure again"
        )
    check_metric(metric)
    if isinstance(max_drop, bool) or not isinstance(max_drop, (int, float)) or not 0 <= max_drop < math.inf:
        raise ConfigError(
            f"max_drop is {shown(max_drop)}; pass how far the metric may be below the float model's, 0 or more"
        )


class BudgetSearch:
    """Finds which nodes to keep in float.

    The nodes are ordered by what each alone costs in SQNR at the output. A bisection over how many of them to keep
    in float, the costliest first, finds a number that suffices where one less does not; then each is tried in int8
    again, until none can be. So the result is within the budget, as measured, and with any one of its float nodes
    in int8 it would not be. It may still not be the smallest such set, which only trying all sets would find.

    Args:
        plan, prepared: of the model; it need not be calibrated yet.
        max_drop: how far the metric may be below that of the float model.
        metric: see ``measured``; it is called with the float model right here.

    Raises:
        ConfigError: see ``measured``; or the float model's metric is infinite.
    """

    def __init__(self, plan: Plan, prepared: PreparedModel, max_drop: float, metric: Metric) -> None:
        self.plan, self.prepared = plan, prepared
        self.max_drop, self.metric = float(max_drop), metric
        self.model = float_model(plan, prepared)
        self.reference = measured(metric, self.model, "the float model")
        if math.isinf(self.reference):
            raise ConfigError(
                f"metric gave {self.reference} for the float model, of which no drop can be measured; mend the metric"
            )
        self.refusal = Refusal(f"kept in float: in int8 it would exceed max_drop={max_drop:g}", "the budget")
        self.batches: list[Arguments] = []
        self._steps: dict[frozenset[Unit], Step] = {}

    def noting(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The same batches, the first of which are kept to order the nodes with."""
        for batch in batches:
            if len(self.batches) < RANKING_BATCHES:
                self.batches.append(cloned(as_arguments(batch)))
            yield batch

    def run(self) -> nn.Module:
        """The quantized model, with the search in its report. To be called after calibration.

        Raises:
            ConfigError: the metric failed or gave NaN, or with everything in float it exceeds the budget.
        """
        variants = Variants(self.plan, self.prepared)
        with tqdm(desc="budget", unit="model", disable=None, leave=False) as bar:
            floats = self._search(variants, bar)
        names = tuple(unit.name for unit in floats)
        lowered = variants.lowered(floats, self.refusal)
        trail = Budget(self.max_drop, self.reference, names, tuple(self._steps.values()))
        store(lowered, budget=trail)
        return lowered

    def _search(self, variants: Variants, bar: Any) -> tuple[Unit, ...]:
        def within(floats: Sequence[Unit]) -> bool:
            if frozenset(floats) not in self._steps:
                names = tuple(unit.name for unit in floats)
                which = f"the model with {len(names)} of {len(variants.units)} kept in float"
                value = measured(self.metric, variants.lowered(floats, self.refusal), which)
                self._steps[frozenset(floats)] = Step(names, value, value >= self.reference - self.max_drop)
                bar.update()
            return self._steps[frozenset(floats)].within

        if within(()):
            return ()
        ranked = [unit for unit, _ in rank_by_noise(variants, self.model, self.batches)]
        too_few, enough = 0, len(ranked)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            too_few, enough = (too_few, middle) if within(ranked[:middle]) else (middle, enough)
        if not within(ranked[:enough]):
            found = self._steps[frozenset(ranked)].metric
            raise ConfigError(
                f"metric gave {found:g} with everything in float but {self.reference:g} for the float model before, "
                f"which is more than max_drop={self.max_drop:g} apart; measure on the same data each time, or raise "
                "max_drop"
            )
        return _given_back(ranked[:enough], within)


def _given_back(floats: list[Unit], within: Any) -> tuple[Unit, ...]:
    """Return units to int8, the least costly first, until none can be."""
    for unit in reversed(floats):
        others = [other for other in floats if other is not unit]
        if within(others):
            return _given_back(others, within)
    return tuple(floats)
