"""What a result gives reason to warn of: nothing in int8, few samples, and how far it is from float on a batch."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fxq_core.analysis.noise import float_leaves, sqnr
from fxq_core.capture.calls import Arguments, cloned, kept_attributes, kept_buffers, kept_random
from fxq_core.errors import AccuracyWarning, FewSamplesWarning, NothingQuantizedWarning, one_line, warn
from fxq_core.prepare import PreparedModel
from fxq_core.report import Report

# noise that is a third of the signal: no rounding, but a range or a kernel that is wrong
LEAST_SQNR = 10.0
ENOUGH_SAMPLES = 32


@dataclass(frozen=True, slots=True)
class LastBatch:
    """One batch, and the random state from which it was run."""

    arguments: Arguments
    random: torch.Tensor

    def run(self, model: nn.Module) -> Any:
        """What a model gives for the batch now; what it remembers stays."""
        args, kwargs = cloned(self.arguments)
        with torch.no_grad(), kept_random(), kept_buffers(model), kept_attributes(model), warnings.catch_warnings():
            # it is no call of the user's, who is told in the first one that is
            warnings.simplefilter("ignore")
            torch.set_rng_state(self.random)
            return model(*args, **kwargs)


def check_amount(name: str, report: Report, samples: int) -> None:
    """Warn if nothing of a model is in int8, or else if its ranges are of few samples.

    Args:
        name: the model's.
        report: of the quantized model.
        samples: how many there were to calibrate with.
    """
    if not any(row.quantized for row in report.rows):
        warn(
            NothingQuantizedWarning(
                f"nothing of {name} is in int8 on engine {report.engine!r}: the result is a copy "
                "that computes in float; print(fxq_core.report(qmodel)) says why"
            )
        )
    elif 0 < samples < ENOUGH_SAMPLES:
        warn(
            FewSamplesWarning(
                f"{name} was calibrated with {samples} of at least {ENOUGH_SAMPLES} samples; values "
                "outside of the ranges they show are clipped, so give more that are like those to come"
            )
        )


def copied(model: nn.Module) -> nn.Module:
    """A copy to run in place of a model, or the model itself if it can't be copied."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return copy.deepcopy(model)
    except Exception:
        return model


def check_result(prepared: PreparedModel, qmodel: nn.Module, batch: LastBatch) -> None:
    """Warn with ``AccuracyWarning`` if a quantized model fails or is far from float on a batch."""
    before = prepared.state()
    try:
        expected = batch.run(prepared.root)
    except Exception:
        # what the float model refuses now, it may: it remembers something
        return
    finally:
        prepared.restore(before)
    try:
        # a copy, since kernels may keep what they first ran with: a shape, whose calls are then fast ones, or scales
        result = batch.run(copied(qmodel))
    except Exception as error:
        warn(
            AccuracyWarning(
                f"the quantized model fails on the last batch it was calibrated with ({one_line(error)}); take another "
                "engine, or keep the part in float with Config(skip=...)"
            )
        )
        return
    found = _sqnr(expected, result)
    if found < LEAST_SQNR:
        warn(
            AccuracyWarning(
                f"on the last calibration batch the SQNR to float is {found:.1f} dB, below {LEAST_SQNR:.0f}; calibrate "
                "with more data, take another observer, or keep parts in float with Config(skip=...)"
            )
        )


def _sqnr(expected: Any, result: Any) -> float:
    """In dB over all float tensors of an output; infinite where nothing compares."""
    wanted, got = float_leaves(expected), float_leaves(result)
    if [leaf.shape for leaf in wanted] != [leaf.shape for leaf in got]:
        return -math.inf
    # no part of nothing is small, and what is infinite in float can't be compared
    if not any(leaf.any() for leaf in wanted) or not all(leaf.isfinite().all() for leaf in wanted):
        return math.inf
    return sqnr(expected, result)
