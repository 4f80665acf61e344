"""What a kernel may be given: torch's own checks leave arguments that end the process, or that are read as others."""

from __future__ import annotations

from typing import Any

import torch

from fxq_core.dtypes import check_layer
from fxq_core.errors import InputError

LARGEST = 2**31 - 1


def check_weight(layer: Any, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, rank: int) -> None:
    """Refuse tensors that can't be packed; a scale for each channel goes with the first dimension of the weight.

    Raises:
        InputError: a dtype, a shape or a scale is wrong; or a dtype was changed, and a kernel would read it as what it
            was.
    """
    who = type(layer).__name__
    check_layer(layer, weight, scale, bias)
    if weight.dim() != rank if rank else weight.dim() not in (3, 4, 5):
        _refuse(who, f"its weight has {weight.dim()} dimensions")
    if weight.numel() == 0:
        _refuse(who, f"its weight of shape {tuple(weight.shape)} is empty")
    if scale.dim() and tuple(scale.shape) != (len(weight),):
        _refuse(who, f"it has scales of shape {tuple(scale.shape)} for {len(weight)} channels")
    if not bool(((scale > 0) & scale.isfinite()).all()):
        _refuse(who, "its scales are not all positive and finite")


def check_bias(layer: Any, bias: torch.Tensor | None, channels: int) -> None:
    """Refuse a bias that does not have one finite number for each output channel."""
    if bias is not None and (tuple(bias.shape) != (channels,) or not bool(bias.isfinite().all())):
        _refuse(type(layer).__name__, f"its bias is not one of {channels} finite numbers")


def check_geometry(layer: Any, dims: int, channels: int, groups: int, least: dict[str, tuple[Any, int]]) -> None:
    """Refuse a geometry that no convolution has.

    Args:
        dims: over how many dimensions it runs.
        channels: how many there are to divide into groups: those of the weight's first dimension.
        least: numbers per dimension, each with the smallest there may be.
    """
    who = type(layer).__name__
    for name, (numbers, smallest) in least.items():
        fits = isinstance(numbers, (tuple, list)) and len(numbers) == dims
        if not fits or not all(isinstance(n, int) and smallest <= n <= LARGEST for n in numbers):
            _refuse(who, f"its {name} is {numbers!r}, not {dims} numbers of at least {smallest}")
    if not isinstance(groups, int) or groups < 1 or channels % groups:
        _refuse(who, f"its {channels} channels can't be divided into {groups!r} groups")


def _refuse(who: str, problem: str) -> None:
    raise InputError(f"{who} can't be packed: {problem}; give it what a layer in float takes")
