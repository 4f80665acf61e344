"""What fxq can take in: a module in eval mode, in float32, on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fxq_core.capture.calls import Arguments
from fxq_core.dtypes import COMPLEX, elsewhere, unfit
from fxq_core.errors import CaptureError
from fxq_core.quantized_module import QuantizedModule


def check_model(model: Any) -> None:
    """Refuse what can't be quantized at all.

    Raises:
        CaptureError: not an ``nn.Module``, in train mode, quantized already, or tensors of another dtype or device.
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
    if hasattr(model, "_orig_mod"):
        raise CaptureError(
            "the model is compiled; quantize the one that torch.compile was given, which is model._orig_mod"
        )
    for path, module in model.named_modules():
        place = f"module {path!r} ({type(module).__name__})" if path else f"the root ({type(module).__name__})"
        if isinstance(module, QuantizedModule):
            raise CaptureError(f"{place} is quantized already; quantize the float model it was made from")
        if isinstance(module, torch.jit.ScriptModule):
            raise CaptureError(f"{place} is TorchScript; quantize the Python model that it was made from")
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if tensor.device.type != "cpu":
                raise CaptureError(
                    f"{name!r} of {place} is on device {tensor.device}; call model.cpu() before quantizing"
                )
            if tensor.is_complex():
                raise CaptureError(f"{name!r} of {place} is {tensor.dtype}; {COMPLEX}")
            if tensor.is_floating_point() and tensor.dtype is not torch.float32:
                raise CaptureError(f"{name!r} of {place} is {tensor.dtype}; call model.float() before quantizing")


def check_arguments(arguments: Arguments) -> None:
    """Refuse tensors on another device.

    Raises:
        CaptureError: an argument, or a tensor in one, is not on the CPU.
    """
    if reason := elsewhere(*arguments):
        raise CaptureError(reason)


def check_dtypes(arguments: Arguments) -> None:
    """Explain why a model refused its arguments, if it may be for a dtype; a model may well convert them itself.

    Raises:
        CaptureError: an argument, or a tensor in one, is complex or floating point other than float32.
    """
    if reason := unfit(*arguments):
        raise CaptureError(reason)
