"""What a variant of a model is worth: the SQNR of its outputs, or what the user measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, SupportsFloat

import torch
from torch import nn
from torch.utils._pytree import tree_map

from fxq_core.analysis.noise import Noise, float_leaves
from fxq_core.capture.calls import Arguments, cloned, kept_buffers, kept_random
from fxq_core.errors import ConfigError, FxqError, one_line, shown

Metric = Callable[[nn.Module], SupportsFloat]


class OutputNoise:
    """Judges models by the SQNR of their outputs to those of a float one, in dB, over some batches.

    Keeps the float outputs. Whatever is random in the models is the same for all.

    Raises:
        ConfigError: the float model returns no float tensor.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Arguments]) -> None:
        self.batches = batches
        self.expected = [output_of(model, batch) for batch in batches]
        if not any(map(float_leaves, self.expected)):
            raise ConfigError("the model returns no float tensor whose SQNR could be measured; pass metric=")

    def __call__(self, model: nn.Module) -> float:
        noise = Noise()
        for batch, expected in zip(self.batches, self.expected, strict=True):
            for one, other in zip(float_leaves(expected), float_leaves(output_of(model, batch)), strict=True):
                noise.add(one, other)
        return noise.sqnr


def output_of(model: nn.Module, batch: Arguments) -> Any:
    """What a model returns, in memory of its own; its buffers and the random state stay as they were."""
    args, kwargs = cloned(batch)
    with torch.no_grad(), kept_random(), kept_buffers(model):
        return tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, model(*args, **kwargs))


def measured(metric: Metric, model: nn.Module, which: str) -> float:
    """A user's metric of a model.

    Args:
        which: the model, as the message names it.

    Raises:
        ConfigError: the metric failed, or gave no number.
    """
    with kept_random():
        try:
            found = metric(model)
            value = float(found)
        except FxqError:
            raise
        except Exception as error:
            raise ConfigError(
                f"metric failed on {which} with {one_line(error)}; it is called with a model and returns a number, "
                "the higher the better"
            ) from error
    if math.isnan(value):
        raise ConfigError(f"metric gave {shown(found)} for {which}, which is no number to compare; mend the metric")
    return value


def check_metric(metric: Any) -> None:
    """Refuse what can't be called.

    Raises:
        ConfigError: naming what was given.
    """
    if not callable(metric):
        raise ConfigError(
            f"metric is {shown(metric)}; pass a function that takes a model and returns a number, the higher the better"
        )
