"""What a module offers that can compute its step in several ways."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class Tunable(Protocol):
    """A leaf of a lowered graph that ``tune`` may switch; plugins put such modules there with ``ctx.module``.

    All ways must give the same numbers, but for rounding: one code at most. Its type and ``extra_repr`` must tell
    modules apart whose times differ, as far as the inputs do not.
    """

    def fxq_alternatives(self) -> tuple[str, ...]:
        """The names of the ways that are safe here, the one in use first."""

    def fxq_use(self, name: str) -> None:
        """Compute in this way from now on; kept by copies and pickles, and no part of the state dict."""


def step_key(module: nn.Module, args: tuple[object, ...]) -> str:
    """What the times of a step depend on: the op, its geometry, and the tensors it is given."""
    return f"{type(module).__name__}({module.extra_repr()}) of {', '.join(map(_tensor, args))}"


def _tensor(value: object) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    layout = "" if value.is_contiguous() else f" with strides {value.stride()}"
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}{layout}"
