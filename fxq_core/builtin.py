"""The core's own plugin: the float patterns, the observers and the reference engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fxq_core import families, reference
from fxq_core.hookspecs import hookimpl
from fxq_core.observers import (
    EntropyObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageObserver,
    PercentileObserver,
)
from fxq_core.rejections import REJECTIONS, reject_clamp
from fxq_core.spellings import CLAMP_LIKE
from fxq_core.types import Engine, Lowering, Match, ObserverSpec, Pattern


def _patterns() -> Iterator[Pattern]:
    for name in families.BORDERS:
        yield Pattern(name, ())
    for name, ops in families.CLAMPED.items():
        yield Pattern(name, ops, reject=REJECTIONS[name])
        yield Pattern(f"{name}_clamp", (ops, CLAMP_LIKE), reject=_either(REJECTIONS[name], reject_clamp))
    for name, ops in {**families.OWN_RANGE, **families.IN_FLOAT}.items():
        yield Pattern(name, ops, reject=REJECTIONS.get(name))
    for name, ops in families.SHARED.items():
        yield Pattern(name, ops, shares_qparams=True, reject=REJECTIONS.get(name))
    for name, ops in families.WEIGHT_ONLY.items():
        yield Pattern(name, ops, weight_only=True, reject=REJECTIONS.get(name))


def _either(*rejections: Callable[[Match], str | None]) -> Callable[[Match], str | None]:
    return lambda match: next(filter(None, (reject(match) for reject in rejections)), None)


class CorePlugin:
    """The records of fxq-core itself, through the same hooks as everybody's."""

    @hookimpl
    def fxq_engines(self) -> Iterator[Engine]:
        yield reference.REFERENCE

    @hookimpl
    def fxq_patterns(self) -> Iterator[Pattern]:
        yield from _patterns()

    @hookimpl
    def fxq_observers(self) -> Iterator[ObserverSpec]:
        yield ObserverSpec("minmax", MinMaxObserver)
        yield ObserverSpec("moving-average", MovingAverageObserver)
        yield ObserverSpec("histogram", HistogramObserver)
        yield ObserverSpec("percentile", PercentileObserver)
        yield ObserverSpec("entropy", EntropyObserver)

    @hookimpl
    def fxq_lowerings(self) -> Iterator[Lowering]:
        yield from reference.lowerings()
