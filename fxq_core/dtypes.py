"""Dtypes and devices that a quantized model can't take, in the arguments of a call and in its own tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from fxq_core.errors import InputError

CONVERT = "convert the float model before it is quantized, not the quantized one"
COMPLEX = "int8 stands for real numbers only, so split it with torch.view_as_real"


def check_layer(layer: nn.Module, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Refuse the tensors of a quantized layer after ``.half()`` and the like; a kernel would read them as they were.

    Raises:
        InputError: a dtype is not the one that they were made with.
    """
    floats = [scale] if bias is None else [scale, bias]
    if weight.dtype is not torch.int8 or any(tensor.dtype is not torch.float32 for tensor in floats):
        raise InputError(
            f"{type(layer).__name__} holds an int8 weight with float32 scales and bias, but their dtypes were "
            f"changed; {CONVERT}"
        )


def tensors_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
    """The tensors in the arguments, each with the name or position of its argument and the way to it."""
    found = []
    for name, value in (*enumerate(args), *kwargs.items()):
        for path, leaf in tree_flatten_with_path(value)[0]:
            if isinstance(leaf, torch.Tensor):
                found.append((f"{name!r}{keystr(path)}", leaf))
    return found


def elsewhere(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Which argument, or tensor in one, is not on the CPU."""
    for name, tensor in tensors_in(args, kwargs):
        if tensor.device.type != "cpu":
            return f"argument {name} is on device {tensor.device}; move it with .cpu()"
    return None


def unfit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Why a model may have refused its arguments, if it may be for a dtype or a device; it may well convert them."""
    if reason := elsewhere(args, kwargs):
        return reason
    for name, tensor in tensors_in(args, kwargs):
        if tensor.is_complex():
            return f"argument {name} is {tensor.dtype}, which the model refused; {COMPLEX}"
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            return f"argument {name} is {tensor.dtype}, which the model refused; convert it with .float()"
    return None
