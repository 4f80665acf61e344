"""The self-check: the quantized model against the float one, on the last batch it was calibrated with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from fxq_core.capture.calls import Arguments, cloned, kept_buffers, kept_random
from fxq_core.errors import AccuracyWarning, FxqError, one_line, warn

# noise that is a third of the signal: no rounding, but a range or a kernel that is wrong
LEAST_SQNR = 10.0


@dataclass(frozen=True, slots=True)
class LastBatch:
    """One batch, what the float model gave for it, and the random state from which it did."""

    arguments: Arguments
    result: Any
    random: torch.Tensor


def check_result(qmodel: nn.Module, batch: LastBatch) -> None:
    """Warn with ``AccuracyWarning`` if a quantized model fails or is far from float on a batch."""
    args, kwargs = cloned(batch.arguments)
    try:
        with torch.no_grad(), kept_random(), kept_buffers(qmodel):
            torch.set_rng_state(batch.random)
            result = qmodel(*args, **kwargs)
    except Exception as error:
        hint = "please report it" if not isinstance(error, FxqError) else "give other data, or keep the part in float"
        warn(
            AccuracyWarning(
                f"the quantized model fails on the last batch it was calibrated with ({one_line(error)}); {hint}"
            )
        )
        return
    sqnr = _sqnr(batch.result, result)
    if sqnr < LEAST_SQNR:
        warn(
            AccuracyWarning(
                f"on the last calibration batch the SQNR to float is {sqnr:.1f} dB, below {LEAST_SQNR:.0f}; calibrate "
                "with more data, take another observer, or keep parts in float with Config(skip=...)"
            )
        )


def _sqnr(expected: Any, result: Any) -> float:
    """In dB over all float tensors of an output; infinite where nothing differs or nothing compares."""
    signal = noise = 0.0
    for wanted, got in zip(tree_leaves(expected), tree_leaves(result), strict=False):
        if isinstance(wanted, torch.Tensor) and wanted.is_floating_point() and isinstance(got, torch.Tensor):
            signal += wanted.double().square().sum().item()
            noise += (wanted.double() - got.double()).square().sum().item()
    if not math.isfinite(signal):
        # what is infinite in float can't be compared
        return math.inf
    if not math.isfinite(noise):
        return -math.inf
    return 10 * math.log10(signal / noise) if signal and noise else math.inf
