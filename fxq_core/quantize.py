"""The stages composed: capture, plan, prepare, calibrate, lower."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Sized
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from fxq_core.analysis.budget import BudgetSearch, check_budget
from fxq_core.analysis.judges import Metric
from fxq_core.batches import NO_BATCH, check_batches, failed, samples_of
from fxq_core.capture import capture
from fxq_core.capture.calls import as_arguments, cloned, kept_buffers, kept_random
from fxq_core.checkpoint import check_all_came, key_of, read_checkpoint, write_checkpoint
from fxq_core.config import Config
from fxq_core.engines import choose_engine
from fxq_core.errors import CalibrationError, PluginError
from fxq_core.lowering import calibration, lower
from fxq_core.plan import Plan, make_plan
from fxq_core.prepare import prepare
from fxq_core.registry import Registry, load_plugins
from fxq_core.report import stored
from fxq_core.selfcheck import LastBatch, check_amount, check_result
from fxq_core.tuning.whole import tuned


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
        batches: how many batches were observed; ``samples`` how many samples they held, by the first dimension of the
            first tensor of each.

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
        self.batches = self.samples = 0
        self._last: LastBatch | None = None

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
        given, random = (args, kwargs), torch.get_rng_state()
        # the model may write to what it is given
        args, kwargs = cloned(given)
        before = self._prepared.state()
        with torch.no_grad(), kept_random(), kept_buffers(self.prepared):
            try:
                result = self.prepared(*args, **kwargs)
            except BaseException as error:
                # a batch counts in every part of the model, or in none
                self._prepared.restore(before)
                if not isinstance(error, Exception) or isinstance(error, PluginError):
                    raise
                raise failed(self.batches, error) from error
        self.batches += 1
        samples = samples_of(given)
        self.samples += samples
        if samples:
            # and the caller to what it gave; only now, since a forward takes the most memory
            self._last = LastBatch(cloned(given), random)
        return result

    def calibrate(
        self, batches: Iterable[Any], *, checkpoint: str | os.PathLike[str] | None = None, every: int = 100
    ) -> Quantizer:
        """Observe every batch of an iterable, once; shows a progress bar on a terminal. Returns itself.

        Args:
            batches: each a tensor, a tuple or list of arguments, or a dict of keyword arguments.
            checkpoint: a file to keep the statistics in. If it is there, calibration goes on after the batches that it
                holds, which are taken from the iterable and left out; so the same batches must come in the same order.
            every: how many batches to observe between two checkpoints; each replaces the last in one step.

        Raises:
            CalibrationError: there is no batch, or ``observe`` refuses one; or the checkpoint can't be read or written,
                or is of another model, engine, config or beginning, or holds more batches than there are.
        """
        check_batches(batches)
        if not isinstance(every, int) or every < 1:
            raise CalibrationError(f"every is {every!r}; give the number of batches between two checkpoints")
        before = self.batches
        total = len(batches) if isinstance(batches, Sized) else None
        self._observe_all(batches, total, checkpoint, every)
        if self.batches == before:
            raise CalibrationError(NO_BATCH)
        return self

    def _observe_all(
        self,
        batches: Iterable[Any],
        total: int | None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 1,
    ) -> None:
        start, skipped = self.batches, 0
        key = "" if checkpoint is None else key_of(self.plan)
        if checkpoint is not None and (state := read_checkpoint(checkpoint, key, start)) is not None:
            self._prepared.restore(state["parts"])
            self.batches, self.samples = state["batches"], state["samples"]
            skipped = self.batches - start
        seen = 0
        bar = tqdm(batches, desc="calibrate", unit="batch", total=total, disable=None, leave=False)
        for seen, batch in enumerate(bar, 1):
            if seen > skipped:
                args, kwargs = as_arguments(batch)
                self.observe(*args, **kwargs)
                if checkpoint is not None and seen % every == 0:
                    write_checkpoint(checkpoint, self._state(key, start))
        if checkpoint is not None:
            check_all_came(checkpoint, skipped, seen)
        if checkpoint is not None and seen > skipped and seen % every:
            write_checkpoint(checkpoint, self._state(key, start))

    def _state(self, key: str, start: int) -> dict[str, Any]:
        counts = {"batches": self.batches, "samples": self.samples}
        return {"key": key, "start": start, **counts, "parts": self._prepared.state()}

    def merge(self, other: Quantizer) -> Quantizer:
        """Add what another quantizer of the same model, engine and config observed, as batches that came later.

        With the observers here but ``"moving-average"``, whose result depends on the order, shards of the data give
        exactly what one pass over all of them does. Returns itself.

        Raises:
            CalibrationError: the other is of another model, engine or config.
            PluginError: an observer failed.
        """
        if not isinstance(other, Quantizer) or key_of(other.plan) != key_of(self.plan):
            raise CalibrationError(
                f"{self._name} can't be merged with a quantizer of another model, engine or config; give one that was "
                "made with the same arguments"
            )
        for path, part in self._prepared.parts.items():
            part.merge(other._prepared.parts[path])
        self.batches, self.samples = self.batches + other.batches, self.samples + other.samples
        self._last = other._last or self._last
        return self

    def quantize(self) -> nn.Module:
        """The quantized module, with what was observed so far; observing may go on afterwards.

        Warns with ``NothingQuantizedWarning`` where no node of it is in int8, with ``FewSamplesWarning`` where less
        than 32 samples were observed, and with ``AccuracyWarning`` where it fails or is far from float on the last
        batch.

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
        check_amount(self._name, stored(lowered), self.samples)
        if self._last is not None:
            check_result(self._prepared, lowered, self._last)
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
