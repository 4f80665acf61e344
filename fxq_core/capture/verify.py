"""Run a model on the example, and tell whether two runs gave the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from fxq_core.capture.calls import Arguments, cloned, kept_attributes, kept_buffers, kept_random
from fxq_core.errors import CaptureError, one_line


def run(model: nn.Module, example: Arguments) -> Any:
    """The model's output on a copy of the example; every run starts from the same random state.

    Raises:
        CaptureError: the model refuses the example.
    """
    args, kwargs = cloned(example)
    with torch.no_grad(), kept_random(), kept_buffers(model), kept_attributes(model):
        try:
            return model(*args, **kwargs)
        except Exception as error:
            raise CaptureError(
                f"{type(model).__name__} refused the example inputs ({one_line(error)}); "
                "give one batch: a tensor, a tuple of arguments or a dict of keyword arguments"
            ) from error


def same(result: Any, expected: Any) -> bool:
    """Whether two outputs have one structure and, up to float rounding, the same numbers."""
    got, wanted = _leaves(result), _leaves(expected)
    return type(result) is type(expected) and len(got) == len(wanted) and all(map(_equal, got, wanted))


def _leaves(output: Any) -> list[Any]:
    """The leaves of an output; those of objects that torch does not know, such as dataclasses, too."""
    found = []
    for leaf in tree_leaves(output):
        if dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            found += _leaves([getattr(leaf, field.name) for field in dataclasses.fields(leaf)])
        else:
            found.append(leaf)
    return found


def _equal(got: Any, wanted: Any) -> bool:
    if not isinstance(got, torch.Tensor) or not isinstance(wanted, torch.Tensor):
        return type(got) is type(wanted)
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    if not wanted.is_floating_point() or not wanted.numel():
        return torch.equal(got, wanted)
    # folding a batch norm rounds each weight once more
    within = 1e-4 * float(wanted.nan_to_num().abs().max())
    return torch.allclose(got, wanted, rtol=1e-3, atol=within, equal_nan=True)
