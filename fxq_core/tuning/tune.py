"""Time each step's alternatives on this machine, and keep the fastest."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from fxq_core.capture.calls import Arguments, cloned, kept_buffers, kept_random
from fxq_core.errors import InputError, one_line
from fxq_core.report import store, stored
from fxq_core.tuning.cache import TuneCache, machine
from fxq_core.tuning.report import TunedStep, TuneReport
from fxq_core.tuning.timing import APART, Clock, Rival, Stage

# how often each alternative is timed: as often as fits in so many seconds, within limits
SECONDS, LEAST, MOST = 8.0, 5, 20
# another way must be faster by more than chance to take the place of the one in use: by a share, and microseconds
SHARE, FLOOR = 0.03, 1.0


def tune(
    qmodel: nn.Module,
    *example_inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    cache: TuneCache | None = None,
) -> TuneReport:
    """Choose, for each step of a quantized model that can be computed in several ways, the fastest on this machine.

    The model runs on the example inputs, each time with a few of its steps computed in another way, so that the ways
    are timed in place: with the activations that reach them, the caches as the steps before leave them, and what they
    cost the step that follows. A way takes the place of the one in use if it saves more than 3 %, and a microsecond,
    beyond what may be chance.
    What the model computes stays the same but for rounding, by at most one code per step. A choice is for the number of
    threads that torch has now and for the shapes of the example; it stays with the model, its copies and pickles, and
    is no part of the state dict.

    Args:
        qmodel: what ``quantize()`` returned; its choices change, nothing else of it does.
        example_inputs: the positional arguments of one call, as large as those to come.
        kwargs: its keyword arguments.
        cache: the times that are known, to which what is measured is added; with all times known nothing is measured.

    Raises:
        FxqError: the module was not made by ``quantize()``.
        InputError: the model refuses the example inputs.
    """
    stored(qmodel)  # refuses what no quantize() returned
    cache = TuneCache() if cache is None else cache
    return tune_with(qmodel, (example_inputs, dict(kwargs or {})), cache, time.perf_counter)


def tune_with(qmodel: nn.Module, example: Arguments, cache: TuneCache, clock: Clock) -> TuneReport:
    """``tune`` by any clock, which gives seconds."""
    stage, where = Stage(qmodel, clock), machine()
    known = cache.times.setdefault(where, {})
    with stage.entered(), torch.no_grad(), kept_random(), kept_buffers(qmodel):
        _run(qmodel, example, stage)
        rivals = [rival for rival in stage.rivals if rival.sites and len(rival.names) > 1]
        unknown = [rival for rival in rivals if not _is_known(rival, known)]
        if unknown:
            _measure(qmodel, example, stage, unknown)
    for key, times in stage.costs(unknown).items():
        known[key] = {**known.get(key, {}), **times}
    steps = tuple(_choose(rival, known) for rival in rivals if _is_known(rival, known))
    for part in stage.parts:
        part._fxq_compile()
    tuning = TuneReport(where, steps)
    store(qmodel, tuning=tuning)
    return tuning


def _is_known(rival: Rival, known: Mapping[str, Mapping[str, float]]) -> bool:
    return all(known.get(site.key, {}).keys() >= set(rival.names) for site in rival.sites)


def _run(qmodel: nn.Module, example: Arguments, stage: Stage) -> None:
    args, kwargs = cloned(example)
    try:
        with stage.one_pass():
            qmodel(*args, **kwargs)
    except Exception as error:
        raise InputError(
            f"{type(qmodel).__name__} refused the example inputs ({one_line(error)}); tune it with inputs like those "
            "that it will be called with"
        ) from error


def _measure(qmodel: nn.Module, example: Arguments, stage: Stage, unknown: list[Rival]) -> None:
    for rival in unknown:
        rival.split()
    passes = APART * math.lcm(*(len(rival.names) - 1 for rival in unknown))
    started = stage.clock()
    with tqdm(total=MOST, desc="tune", unit="round", disable=None, leave=False) as bar:
        for done in range(MOST + 1):
            if done == 1:  # what came first made the kernels ready
                stage.forget()
            if done > LEAST and stage.clock() - started > SECONDS:
                break
            for _ in range(passes):
                _run(qmodel, example, stage)
            bar.update()


def _choose(rival: Rival, known: Mapping[str, Mapping[str, float]]) -> TunedStep:
    times = {name: sum(known[site.key][name] for site in rival.sites) for name in rival.names}
    in_use, fastest = rival.names[0], min(times, key=times.__getitem__)
    gain = times[in_use] - times[fastest]
    choice = fastest if gain > max(SHARE * times[in_use], FLOOR * len(rival.sites)) else in_use
    # also if it is in use already: a kernel may be bound to the shapes that it ran on first
    with rival.part._fxq_active():
        rival.module.fxq_use(choice)
    path = ".".join(filter(None, (rival.part.fxq_part, rival.path)))
    return TunedStep(path, type(rival.module).__name__, tuple(times.items()), choice)
