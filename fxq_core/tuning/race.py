"""Which of two models is faster as a whole."""

from __future__ import annotations

import statistics

import torch
from torch import nn

from fxq_core.capture.calls import Arguments, cloned, kept_buffers, kept_random
from fxq_core.tuning.timing import Clock

# each model runs as often as fits in so many seconds, within limits
SECONDS, LEAST, MOST = 4.0, 5, 50


def race(models: tuple[nn.Module, ...], example: Arguments, clock: Clock) -> tuple[float, ...]:
    """The median seconds of one call of each model, which take turns."""
    samples: list[list[float]] = [[] for _ in models]
    with torch.no_grad(), kept_random():
        started = clock()
        for done in range(MOST + 1):
            if done > LEAST and clock() - started > SECONDS:
                break
            for model, times in zip(models, samples, strict=True):
                args, kwargs = cloned(example)
                with kept_buffers(model):
                    start = clock()
                    model(*args, **kwargs)
                    times.append(clock() - start)
    return tuple(statistics.median(times[1:]) for times in samples)  # the first makes the kernels ready
