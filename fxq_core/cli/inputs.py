"""SHAPE: example inputs, given by their shape or guessed from a model's first layer."""

from __future__ import annotations

from typing import NamedTuple

import click
import torch
from torch import nn

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
GUESSED_LENGTH = {1: 64, 2: 224, 3: 32}


class Input(NamedTuple):
    """The shape and dtype of one example tensor."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        shape = ",".join(map(str, self.shape))
        return shape if self.dtype == "float32" else f"{shape}:{self.dtype}"

    def make(self) -> torch.Tensor:
        """Normal random numbers; zeros where they are integers, which index any table; true where they are bools."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        if dtype.is_floating_point:
            return torch.randn(self.shape).to(dtype)
        return torch.full(self.shape, self.dtype == "bool", dtype=dtype)


def read_input(text: str) -> Input:
    """Read ``1,3,224,224`` or ``1,16:int64``.

    Raises:
        click.BadParameter: it is neither.
    """
    sizes, colon, dtype = text.partition(":")
    shape = tuple(int(size) if size.strip().isdecimal() else -1 for size in sizes.split(","))
    if min(shape) < 0:
        raise click.BadParameter(f"{text!r} is no shape; write its sizes with commas, such as 1,3,224,224")
    if colon and dtype not in DTYPES:
        raise click.BadParameter(f"{dtype!r} is no dtype; it is one of {', '.join(DTYPES)}")
    return Input(shape, dtype or "float32")


def guess(model: nn.Module) -> Input | None:
    """A batch of one for the model's first layer that says what it takes, or None if none does."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            return Input((1, module.in_features))
        if isinstance(module, nn.Embedding):
            return Input((1, 16), "int64")
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            dims = len(module.kernel_size)
            return Input((1, module.in_channels, *[GUESSED_LENGTH[dims]] * dims))
    return None
