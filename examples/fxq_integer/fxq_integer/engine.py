"""The engine record: what the engine wants of activations and weights, and whether it works here."""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F

from fxq_core import Engine, QSpec

NAME = "integer"


def reject() -> str | None:
    """Why the engine can't run here, or None: all that it needs of torch are int32 convolutions and products."""
    x = torch.arange(-8, 8, dtype=torch.int32).reshape(1, 1, 4, 4)
    weight = torch.tensor([3, -5, 127, -1], dtype=torch.int32)
    try:
        convolved = F.conv2d(x, weight.reshape(1, 1, 2, 2)).flatten().tolist()
        product = F.linear(x, weight.reshape(1, 4)).flatten().tolist()
    except RuntimeError as error:
        return f"its probe failed with {type(error).__name__}: {str(error).splitlines()[0]}"
    right = convolved == [-494, -370, -246, 2, 126, 250, 498, 622, 746] and product == [-746, -250, 246, 742]
    return None if right else "its int32 convolution or product gives wrong numbers"


INTEGER = Engine(
    name=NAME,
    family=NAME,
    activation=QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="percentile"),
    weight=QSpec(torch.int8, -127, 127, symmetric=True, axis=0, observer="minmax"),
    active=contextlib.nullcontext,
    reject=reject,
)
