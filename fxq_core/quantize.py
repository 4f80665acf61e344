"""The stages composed: capture, plan, prepare, calibrate, lower."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sized
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from fxq_core.analysis.budget import BudgetSearch, check_budget
from fxq_core.analysis.judges import Metric
from fxq_core.capture import capture
from fxq_core.capture.calls import as_arguments, cloned, kept_buffers, kept_random
from fxq_core.config import Config
from fxq_core.engines import choose_engine
from fxq_core.errors import CalibrationError, NothingQuantizedWarning, PluginError, one_line, warn
from fxq_core.lowering import calibration, lower
from fxq_core.plan import Plan, make_plan
from fxq_core.prepare import prepare
from fxq_core.registry import Registry, load_plugins
from fxq_core.report import report
from fxq_core.tuning.whole import tuned

NO_BATCH = "there is no batch to calibrate with; give an iterable of at least one batch"


class Quantizer:
    """Post-training quantization in stages.

    The float model, torch's engine and the random state stay as they were.

    Args:
        model: a float32 module on the CPU, in eval mode.
        example_inputs: one batch: a tensor, a tuple or list of arguments, or a dict of keyword arguments.
        engine: an engine's name; None takes torch's own, see ``choose_engine``.
        config: what to leave in float, and other settings.
        registry: the plugins to use; None loads the installed ones.

    Attributes:
        plan: every decision, before any data. ``print(q.plan)`` reads it out.
        prepared: the watched float model, an ``nn.Module`` to call in one's own loop.

    Raises:
        CaptureError, EngineError, ConfigError, PluginConflictError: see ``capture``, ``choose_engine``, ``make_plan``.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any,
        engine: str | None = None,
        config: Config | None = None,
        registry: Registry | None = None,
    ) -> None:
        registry = load_plugins() if registry is None else registry
        chosen = choose_engine(registry, engine)
        config = Config() if config is None else config
        captured = capture(model, as_arguments(example_inputs))
        self.plan: Plan = make_plan(captured, registry, chosen, config)
        self._tune_for = cloned(as_arguments(example_inputs)) if config.tune else None
        self._prepared = prepare(self.plan)
        self._name = type(model).__name__
        self.batches = 0

    @property
    def prepared(self) -> nn.Module:
        return self._prepared.root

    def observe(self, *args: Any, **kwargs: Any) -> Any:
        """Run one batch through the float graph and note its ranges; returns the model's output.

        Raises:
            CalibrationError: the model refuses the batch, or a value in it is NaN or Inf; the statistics stay as
                they were before the batch.
            PluginError: an observer failed; the statistics stay too.
        """
        args, kwargs = cloned((args, kwargs))
        before = {path: part.get_extra_state() for path, part in self._prepared.parts.items()}
        with torch.no_grad(), kept_random(), kept_buffers(self.prepared):
            try:
                result = self.prepared(*args, **kwargs)
            except BaseException as error:
                # a batch counts in every part of the model, or in none
                for path, part in self._prepared.parts.items():
                    part.set_extra_state(before[path])
                if not isinstance(error, Exception) or isinstance(error, PluginError):
                    raise
                if not isinstance(error, CalibrationError):
                    raise CalibrationError(
                        f"batch {self.batches}: the model refused it ({one_line(error)}); "
                        "give batches like the example inputs"
                    ) from error
                raise type(error)(f"batch {self.batches}: {error}") from error
        self.batches += 1
        return result

    def calibrate(self, batches: Iterable[Any]) -> Quantizer:
        """Observe every batch of an iterable, once; shows a progress bar on a terminal. Returns itself.

        Args:
            batches: each a tensor, a tuple or list of arguments, or a dict of keyword arguments.

        Raises:
            CalibrationError: there is no batch, or ``observe`` refuses one.
        """
        check_batches(batches)
        before = self.batches
        total = len(batches) if isinstance(batches, Sized) else None
        self._observe_all(batches, total)
        if self.batches == before:
            raise CalibrationError(NO_BATCH)
        return self

    def _observe_all(self, batches: Iterable[Any], total: int | None) -> None:
        for batch in tqdm(batches, desc="calibrate", unit="batch", total=total, disable=None, leave=False):
            args, kwargs = as_arguments(batch)
            self.observe(*args, **kwargs)

    def quantize(self) -> nn.Module:
        """The quantized module, with what was observed so far; observing may go on afterwards.

        Warns with ``NothingQuantizedWarning`` where no node of it is in int8.

        Raises:
            CalibrationError: nothing was observed.
            PluginError: a plugin failed where nothing can stand in for it, or at all if the registry is strict.
        """
        with torch.no_grad(), kept_random():
            found = calibration(self._prepared)
            lowered = lower(self.plan, self._prepared, found)
            if self._tune_for is not None:
                lowered = tuned(lowered, self.plan, self._prepared, found, self._tune_for, time.perf_counter)
        return self._warned(lowered)

    def _warned(self, lowered: nn.Module) -> nn.Module:
        if not any(row.quantized for row in report(lowered).rows):
            warn(
                NothingQuantizedWarning(
                    f"nothing of {self._name} is in int8 on engine {self.plan.engine.name!r}: the result is a copy "
                    "that computes in float; print(fxq_core.report(qmodel)) says why"
                )
            )
        return lowered


def quantize(
    model: nn.Module,
    batches: Iterable[Any],
    engine: str | None = None,
    config: Config | None = None,
    registry: Registry | None = None,
    *,
    max_drop: float | None = None,
    metric: Metric | None = None,
) -> nn.Module:
    """Quantize a float model in one call; the first batch also serves as the example.

    Args:
        batches: an iterable of batches, consumed once; each a tensor, a tuple or list of arguments, or a dict of
            keyword arguments.
        max_drop: how far the metric may be below that of the float model: nodes are kept in float, as few as possible,
            until it is not. ``report(qmodel)`` says which, and what was tried. See ``BudgetSearch`` for how, and for
            what is guaranteed.
        metric: called with a model, returns a number, the higher the better; first with the float model, before
            calibration.
        The other arguments are those of ``Quantizer``.

    Raises:
        CalibrationError: no batch, or one that can't be used.
        ConfigError: only one of ``max_drop`` and ``metric`` is given, or both with ``Config(tune=True)``; the metric
            fails or gives NaN, or it exceeds the budget even with everything in float.
        The others are those of ``Quantizer``.
    """
    if max_drop is not None or metric is not None:
        check_budget(max_drop, metric, tune=config is not None and config.tune)
    check_batches(batches)
    stream = iter(batches)
    first = list(itertools.islice(stream, 1))
    if not first:
        raise CalibrationError(NO_BATCH)
    quantizer = Quantizer(model, first[0], engine, config, registry)
    total = len(batches) if isinstance(batches, Sized) else None
    if max_drop is None or metric is None:
        quantizer._observe_all(itertools.chain(first, stream), total)
        return quantizer.quantize()
    search = BudgetSearch(quantizer.plan, quantizer._prepared, max_drop, metric)
    quantizer._observe_all(search.noting(itertools.chain(first, stream)), total)
    return quantizer._warned(search.run())


def check_batches(batches: Any) -> None:
    """Refuse what is no iterable of batches.

    Raises:
        CalibrationError: a lone tensor, whose rows are no batches, or something that can't be iterated.
    """
    if isinstance(batches, (torch.Tensor, Mapping, str)) or not isinstance(batches, Iterable):
        raise CalibrationError(
            f"batches is a {type(batches).__name__}, not an iterable of batches; for one batch pass [batch]"
        )
