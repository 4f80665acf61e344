"""The self-check: the quantized model against the float one, on the last batch it was calibrated with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from fxq_core.capture.calls import Arguments, cloned, kept_attributes, kept_buffers, kept_random
from fxq_core.errors import AccuracyWarning, one_line, warn
from fxq_core.prepare import PreparedModel

# noise that is a third of the signal: no rounding, but a range or a kernel that is wrong
LEAST_SQNR = 10.0


@dataclass(frozen=True, slots=True)
class LastBatch:
    """One batch, and the random state from which it was run."""

    arguments: Arguments
    random: torch.Tensor

    def run(self, model: nn.Module) -> Any:
        """What a model gives for the batch now; what it remembers stays."""
        args, kwargs = cloned(self.arguments)
        with torch.no_grad(), kept_random(), kept_buffers(model), kept_attributes(model):
            torch.set_rng_state(self.random)
            return model(*args, **kwargs)


def check_result(prepared: PreparedModel, qmodel: nn.Module, batch: LastBatch) -> None:
    """Warn with ``AccuracyWarning`` if a quantized model fails or is far from float on a batch."""
    before = {path: part.get_extra_state() for path, part in prepared.parts.items()}
    try:
        expected = batch.run(prepared.root)
    except Exception:
        # what the float model refuses now, it may: it remembers something
        return
    finally:
        for path, part in prepared.parts.items():
            part.set_extra_state(before[path])
    try:
        result = batch.run(qmodel)
    except Exception as error:
        warn(
            AccuracyWarning(
                f"the quantized model fails on the last batch it was calibrated with ({one_line(error)}); take another "
                "engine, or keep the part in float with Config(skip=...)"
            )
        )
        return
    sqnr = _sqnr(expected, result)
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
        both = isinstance(wanted, torch.Tensor) and isinstance(got, torch.Tensor)
        if both and wanted.is_floating_point() and wanted.shape != got.shape:
            return -math.inf
        if both and wanted.is_floating_point():
            signal += wanted.double().square().sum().item()
            noise += (wanted.double() - got.double()).square().sum().item()
    if not math.isfinite(signal):
        # what is infinite in float can't be compared
        return math.inf
    if not math.isfinite(noise):
        return -math.inf
    return 10 * math.log10(signal / noise) if signal and noise else math.inf
