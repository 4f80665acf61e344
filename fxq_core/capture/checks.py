"""What fxq can take in: a module in eval mode, in float32, on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fxq_core.capture.calls import Arguments
from fxq_core.errors import CaptureError


def check_model(model: Any) -> None:
    """Refuse what can't be quantized at all.

    Raises:
        CaptureError: not an ``nn.Module``, in train mode, or tensors of another dtype or device.
    """
    if not isinstance(model, nn.Module):
        raise CaptureError(f"got a {type(model).__name__} where a torch.nn.Module is needed; pass the model itself")
    training = [path for path, module in model.named_modules() if module.training]
    if training:
        first = f"at {training[0]!r}" if training[0] else "is the root"
        raise CaptureError(
            f"{len(training)} of the modules of {type(model).__name__} are in train mode, the first {first}; "
            "call model.eval() before quantizing"
        )
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.device.type != "cpu":
            raise CaptureError(f"{path!r} is on device {tensor.device}; call model.cpu() before quantizing")
        if (tensor.is_floating_point() and tensor.dtype is not torch.float32) or tensor.is_complex():
            raise CaptureError(f"{path!r} is {tensor.dtype}; call model.float() before quantizing")


def check_arguments(arguments: Arguments) -> None:
    args, kwargs = arguments
    for name, value in (*enumerate(args), *kwargs.items()):
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            raise CaptureError(f"argument {name!r} is on device {value.device}; move it with .cpu()")
