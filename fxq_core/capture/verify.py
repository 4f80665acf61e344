"""Run a model on the example, and tell whether two runs gave the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from fxq_core.capture.calls import Arguments, cloned, kept_attributes, kept_buffers, kept_random
from fxq_core.errors import CaptureError, one_line


def run(model: nn.Module, example: Arguments) -> tuple[Any, ...]:
    """The model's outputs in two calls with copies of the example; every run starts from the same random state.

    What a trace has frozen, such as a count or a tensor that the module makes and then writes into, shows in the
    second call.

    Raises:
        CaptureError: the model refuses the example.
    """
    return run_calls(model, [(example, None)] * 2)


def run_calls(model: nn.Module, calls: Sequence[tuple[Arguments, torch.Tensor | None]]) -> tuple[Any, ...]:
    """The model's outputs in several calls, each with its arguments and, unless None, from a random state.

    Raises:
        CaptureError: the model refuses one of them.
    """
    results = []
    with torch.no_grad(), kept_random(), kept_buffers(model), kept_attributes(model):
        try:
            for arguments, random in calls:
                if random is not None:
                    torch.set_rng_state(random)
                args, kwargs = cloned(arguments)
                # what a module gives it may write into when it is called again
                results.append(cloned(((model(*args, **kwargs),), {}))[0][0])
        except Exception as error:
            raise CaptureError(
                f"{type(model).__name__} refused the example inputs ({one_line(error)}); "
                "give one batch: a tensor, a tuple of arguments or a dict of keyword arguments"
            ) from error
    return tuple(results)


# how much more than the same ops may other ops that compute the same differ, as when a batch norm is folded: deep
# networks amplify rounding
ROUNDED = 100.0
# eight units in the last place of a float32
NUDGE = 2.0**-20


def same(result: Any, expected: Any, slack: float = 1.0) -> bool:
    """Whether two outputs have one structure and, up to float rounding, the same numbers."""
    if type(result) is not type(expected):
        return False
    if isinstance(expected, torch.Tensor):
        return _equal(result, expected, slack)
    if isinstance(expected, (bool, int, str)):
        return bool(result == expected)
    got, wanted = _items(result), _items(expected)
    return list(got) == list(wanted) and all(same(got[key], wanted[key], slack) for key in wanted)


def amplifies(model: nn.Module, example: Arguments, expected: Any) -> bool:
    """Whether a model turns a change of its float inputs by some rounding errors into other numbers than expected."""
    generator = torch.Generator().manual_seed(0)

    def nudged(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        return value * (1 + NUDGE * torch.randn(value.shape, generator=generator))

    return not same(run(model, tree_map(nudged, example)), expected, ROUNDED)


def _items(value: Any) -> dict[Any, Any]:
    """What a container, or an object with fields, holds."""
    items: dict[Any, Any] = {}
    if dataclasses.is_dataclass(value):
        items.update({("field", field.name): getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        items.update(value)
    elif isinstance(value, (tuple, list)):
        items.update(enumerate(value))
    return items


def _equal(got: torch.Tensor, wanted: torch.Tensor, slack: float) -> bool:
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    if not wanted.is_floating_point() or not wanted.numel():
        return torch.equal(got, wanted)
    within = slack * 1e-4 * float(wanted.nan_to_num().abs().max())
    return torch.allclose(got, wanted, rtol=slack * 1e-3, atol=within, equal_nan=True)
