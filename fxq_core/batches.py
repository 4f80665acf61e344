"""What calibration takes: an iterable of batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from fxq_core.capture.calls import Arguments
from fxq_core.errors import CalibrationError, one_line

NO_BATCH = "there is no batch to calibrate with; give an iterable of at least one batch"


def check_batches(batches: Any) -> None:
    """Refuse what is no iterable of batches.

    Raises:
        CalibrationError: a lone tensor, whose rows are no batches, or something that can't be iterated.
    """
    if isinstance(batches, (torch.Tensor, Mapping, str)) or not isinstance(batches, Iterable):
        raise CalibrationError(
            f"batches is a {type(batches).__name__}, not an iterable of batches; for one batch pass [batch]"
        )


def samples_of(arguments: Arguments) -> int:
    """How many samples a batch holds: the first dimension of its first tensor."""
    tensors = (leaf for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor))
    first = next(tensors, None)
    return 1 if first is None or first.dim() == 0 else len(first)


def failed(number: int, error: Exception) -> CalibrationError:
    """The error to raise for what a model raised on a batch, which says the batch."""
    if isinstance(error, CalibrationError):
        return type(error)(f"batch {number}: {error}")
    return CalibrationError(
        f"batch {number}: the model refused it ({one_line(error)}); give batches like the example inputs"
    )
