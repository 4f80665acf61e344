"""The engine record for one of torch's quantized engines, and the probe that says whether it works here."""

from __future__ import annotations

import functools

import torch

from fxq_core.engines import advertised
from fxq_core.native.active import Active
from fxq_core.native.layers import QuantizedConv, QuantizedLinear
from fxq_core.types import Engine, QSpec

FAMILY = "torch"
ACTIVATION = QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="percentile")
# a zero point other than 0 would cost the x86 kernels their VNNI path
WEIGHT = QSpec(torch.int8, -127, 127, symmetric=True, axis=0, observer="minmax")


def native_engine(name: str) -> Engine:
    """One of the names that ``torch.backends.quantized.engine`` can have, as an engine."""
    return Engine(
        name=name,
        family=FAMILY,
        activation=ACTIVATION,
        weight=WEIGHT,
        active=functools.partial(Active, name),
        reject=functools.partial(reject, name),
    )


def reject(name: str) -> str | None:
    """Why torch can't run this engine here, or None: being advertised is no proof, so three tiny ops are run."""
    if name not in advertised():
        return f"this build of torch has only {', '.join(sorted(advertised())) or 'no engine'}"
    try:
        with torch.no_grad(), Active(name):
            wrong = [
                op
                for op, works in (("conv", _conv_works), ("linear", _linear_works), ("add", _add_works))
                if not works(name)
            ]
    except Exception as error:
        return f"its probe failed with {type(error).__name__}: {str(error).splitlines()[0]}"
    return f"its {' and '.join(wrong)} gives wrong numbers" if wrong else None


def _input(*shape: int) -> torch.Tensor:
    codes = torch.arange(torch.Size(shape).numel()) * 37 % 256
    return torch._make_per_tensor_quantized_tensor(codes.to(torch.uint8).reshape(shape), 0.5, 128)


def _weight(*shape: int) -> torch.Tensor:
    # small enough to be packed as they are on a CPU whose kernels saturate
    return (torch.arange(torch.Size(shape).numel()) * 29 % 127 - 63).to(torch.int8).reshape(shape)


def _conv_works(name: str) -> bool:
    x, weight, scale = _input(1, 3, 4, 4), _weight(2, 3, 3, 3), torch.tensor([0.25, 0.5])
    layer = QuantizedConv(weight, scale, torch.tensor([1.0, -2.0]), (1, 1), (1, 1), (1, 1), 1, name)
    floats = torch.nn.functional.conv2d(x.dequantize(), weight * scale.reshape(2, 1, 1, 1), layer.bias, padding=1)
    return _close(layer(x, 64.0, 100), floats)


def _linear_works(name: str) -> bool:
    x, weight, scale = _input(2, 8), _weight(3, 8), torch.tensor([0.25, 0.5, 0.125])
    layer = QuantizedLinear(weight, scale, torch.tensor([1.0, -2.0, 0.0]), name)
    floats = torch.nn.functional.linear(x.dequantize(), weight * scale.reshape(3, 1), layer.bias)
    return _close(layer(x, 32.0, 100), floats)


def _add_works(name: str) -> bool:
    x = _input(1, 2, 4, 4)
    return _close(torch.ops.quantized.add(x, x, 1.0, 128), x.dequantize() * 2)


def _close(result: torch.Tensor, floats: torch.Tensor) -> bool:
    """Whether every code is at most one from the one that float arithmetic gives."""
    codes = torch.round(floats / result.q_scale()) + result.q_zero_point()
    return bool(((codes.clamp(0, 255) - result.int_repr()).abs() <= 1).all())
