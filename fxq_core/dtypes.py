"""What the arguments of a call hold that a quantized model can't take."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import keystr, tree_flatten_with_path

COMPLEX = "int8 stands for real numbers only, so split it with torch.view_as_real"


def tensors_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
    """The tensors in the arguments, each with the name or position of its argument and the way to it."""
    found = []
    for name, value in (*enumerate(args), *kwargs.items()):
        for path, leaf in tree_flatten_with_path(value)[0]:
            if isinstance(leaf, torch.Tensor):
                found.append((f"{name!r}{keystr(path)}", leaf))
    return found


def unfit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Why a model may have refused its arguments, if it may be for a dtype or a device; it may well convert them."""
    for name, tensor in tensors_in(args, kwargs):
        if tensor.device.type != "cpu":
            return f"argument {name} is on device {tensor.device}; move it with .cpu()"
        if tensor.is_complex():
            return f"argument {name} is {tensor.dtype}, which the model refused; {COMPLEX}"
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            return f"argument {name} is {tensor.dtype}, which the model refused; convert it with .float()"
    return None
