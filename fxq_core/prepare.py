"""Prepared: the captured float graph, watched while it runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxq_core.capture import ATTRIBUTES, HOOKS
from fxq_core.capture.calls import positional
from fxq_core.capture.graphs import place, put
from fxq_core.config.records import MASK
from fxq_core.correction import InputMean
from fxq_core.equalization import equalize
from fxq_core.errors import CalibrationError, shown
from fxq_core.observers.base import NonFiniteError, Observer
from fxq_core.observers.guard import guarded
from fxq_core.plan import PartPlan, Plan
from fxq_core.types import QParams, QSpec


class Prepared(nn.Module):
    """One captured graph that computes what it always did and notes the range of every value that needs one.

    Call it as the module it stands for, in any loop; its observers' state is part of ``state_dict()``. A batch that
    fails leaves the observers as they were. ``masked`` counts by group the NaN and Inf that were left out of it, and
    ``means`` holds by path what layers take on average whose bias is corrected.
    """

    def __init__(self, part: PartPlan, spec: QSpec, masks: bool) -> None:
        super().__init__()
        self.model = part.graph_module
        self.part = part
        self.masks = masks
        self.masked: dict[int, tuple[int, int]] = {}
        self.observers: dict[int, Observer] = {}
        for group, observer in part.observers.items():
            with self._guarded(group):
                self.observers[group] = _expected(Observer, observer.build(spec))
        self.means = {path: InputMean(self.model.get_submodule(path)) for path in part.corrected.values()}
        self.batches = 0
        for name in HOOKS:
            setattr(self, name, copy.copy(getattr(self.model, name)))
        for name, value in self.model.meta[ATTRIBUTES].items():
            if not hasattr(self, name):
                setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        snapshot = self.get_extra_state()
        try:
            result = _Watching(self).run(*positional(self.model, args, kwargs))
        except BaseException:
            self.set_extra_state(snapshot)
            raise
        self.batches += 1
        return plain(result)

    def qparams(self) -> Mapping[int, QParams] | None:
        """The qparams of every group, or None if no batch ever reached this part.

        Raises:
            CalibrationError: a value of this part was empty in every batch.
        """
        if not self.batches:
            return None
        found = dict(self.part.groups.fixed)
        for group, observer in self.observers.items():
            try:
                with self._guarded(group):
                    found[group] = _expected(QParams, observer.qparams())
            except CalibrationError as error:
                where = self._where(group)
                raise CalibrationError(f"{where}: {error}; calibrate with batches that hold data") from error
        return found

    def watch(self, node: fx.Node, group: int, value: torch.Tensor) -> None:
        """Let the observer of a group see what a node gave.

        Raises:
            NonFiniteError: it holds NaN or Inf, and those are not left out; the state stays as it was.
            PluginError: the observer failed.
        """
        with guarded(self.part.observers[group], lambda: place(self.part.path, node)):
            try:
                self.observers[group].observe(value)
            except NonFiniteError as error:
                if not self.masks:
                    where = place(self.part.path, node)
                    raise NonFiniteError(f"{where} gave {error}; mend the data or the model") from error
                nans, infs = self.masked.get(group, (0, 0))
                self.masked = {**self.masked, group: (nans + int(value.isnan().sum()), infs + int(value.isinf().sum()))}
                self.observers[group].observe(value[value.isfinite()])

    def notes(self) -> dict[str, str]:
        """What is to be said of the statistics, by the place of the value."""
        found = {
            self._where(group): f"{nans} NaN and {infs} Inf were left out of its range"
            for group, (nans, infs) in self.masked.items()
        }
        for group, observer in self.observers.items():
            with self._guarded(group):
                advice = observer.advice()
            if advice:
                where = self._where(group)
                found[where] = f"{found[where]}; {advice}" if where in found else advice
        return found

    def merge(self, other: Prepared) -> None:
        """Become what would have seen this one's batches and then another's of the same plan."""
        for group, observer in self.observers.items():
            with self._guarded(group):
                observer.merge(other.observers[group])
        for path, mean in self.means.items():
            mean.merge(other.means[path])
        for group, (nans, infs) in other.masked.items():
            mine = self.masked.get(group, (0, 0))
            self.masked[group] = mine[0] + nans, mine[1] + infs
        self.batches += other.batches

    def _where(self, group: int) -> str:
        return place(self.part.path, next(n for n, g in self.part.groups.sources.items() if g == group))

    def _guarded(self, group: int) -> AbstractContextManager[None]:
        return guarded(self.part.observers[group], lambda: self._where(group))

    def get_extra_state(self) -> dict[str, Any]:
        observers = {str(group): observer.state_dict() for group, observer in self.observers.items()}
        means = {path: mean.state_dict() for path, mean in self.means.items()}
        return {"batches": self.batches, "observers": observers, "masked": dict(self.masked), "means": means}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        if set(state["observers"]) != {str(group) for group in self.observers} or set(state["means"]) != set(
            self.means
        ):
            raise ValueError("the calibration state belongs to another model or plan")
        self.batches, self.masked = state["batches"], dict(state["masked"])
        for group, observer in self.observers.items():
            observer.load_state_dict(state["observers"][str(group)])
        for path, mean in self.means.items():
            mean.load_state_dict(state["means"][path])


def _expected(kind: type[Any], given: Any) -> Any:
    """What an observer's plugin gave, if it is what it should be."""
    if not isinstance(given, kind):
        raise TypeError(f"it gave {shown(given)}, which is no {kind.__name__}")
    return given


class _Watching(fx.Interpreter):
    def __init__(self, prepared: Prepared) -> None:
        super().__init__(prepared.model)
        self.extra_traceback = False
        self.prepared, self.part = prepared, prepared.part
        matches = ((prepared.part.chosen[output].match, path) for output, path in prepared.part.corrected.items())
        self.layers = {match.nodes[0]: (match.inputs[0], prepared.means[path]) for match, path in matches}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n in self.layers:
            value, mean = self.layers[n]
            mean.observe(self.env[value])
        group = self.part.groups.sources.get(n)
        if group is not None:
            if not isinstance(result, torch.Tensor):
                raise CalibrationError(
                    f"{place(self.part.path, n)} gave a {type(result).__name__} where the example had a tensor"
                )
            self.prepared.watch(n, group, result)
        return result


def plain(value: Any) -> Any:
    """An output as the model gives it: graphs hold their lists and dicts immutable."""
    if isinstance(value, tuple):
        items = map(plain, value)
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, fx.immutable_collections.immutable_list):
        return [plain(item) for item in value]
    if isinstance(value, fx.immutable_collections.immutable_dict):
        return {key: plain(item) for key, item in value.items()}
    return value


class PreparedModel(NamedTuple):
    """The model to calibrate, and the ``Prepared`` for each captured part in it, by path."""

    root: nn.Module
    parts: dict[str, Prepared]

    def state(self) -> dict[str, Any]:
        """What all parts have observed, by path."""
        return {path: part.get_extra_state() for path, part in self.parts.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have observed what ``state`` gave."""
        for path, part in self.parts.items():
            part.set_extra_state(state[path])


def prepare(plan: Plan) -> PreparedModel:
    """Put a ``Prepared`` in place of every captured part, with its layers equalized where the plan says so."""
    for part in plan.parts:
        equalize(part.graph_module, part.equalized)
    parts = {part.path: Prepared(part, plan.engine.activation, plan.nonfinite == MASK) for part in plan.parts}
    # inner parts first, so that an outer one is prepared with them in place
    for path, prepared in reversed(parts.items()):
        if path:
            put(plan.captured.root, path, prepared)
    return PreparedModel(parts.get("", plan.captured.root), parts)
