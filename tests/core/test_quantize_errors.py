"""What can't be quantized, or calibrated with, is refused in one sentence."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
BATCHES = [X, X.flip(0)]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.last = nn.Sequential(nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


@pytest.fixture
def net() -> nn.Module:
    return Net().eval()


def quantize(model: Any, batches: Any, core: fxq.Registry) -> nn.Module:
    return fxq.quantize(model, batches, "reference", registry=core)


NO_BATCH = "there is no batch to calibrate with; give an iterable of at least one batch"
NO_ITERABLE = "batches is a {}, not an iterable of batches; for one batch pass [batch]"
REFUSED = "(RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x5 and 6x8))"
ERRORS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no module": (
        "net",
        BATCHES,
        fxq.CaptureError,
        "got a str where a torch.nn.Module is needed; pass the model itself",
    ),
    "train mode": (
        lambda: Net().train(),
        BATCHES,
        fxq.CaptureError,
        "5 of the modules of Net are in train mode, the first is the root; call model.eval() before quantizing",
    ),
    "half": (
        lambda: Net().eval().half(),
        BATCHES,
        fxq.CaptureError,
        "'weight' of module 'first' (Linear) is torch.float16; call model.float() before quantizing",
    ),
    "empty list": (None, [], fxq.CalibrationError, NO_BATCH),
    "empty generator": (None, lambda: iter(()), fxq.CalibrationError, NO_BATCH),
    "a lone tensor": (None, X, fxq.CalibrationError, NO_ITERABLE.format("Tensor")),
    "a lone dict": (None, {"x": X}, fxq.CalibrationError, NO_ITERABLE.format("dict")),
    "nothing": (None, None, fxq.CalibrationError, NO_ITERABLE.format("NoneType")),
    "a first batch that does not fit": (
        None,
        [torch.rand(2, 5)],
        fxq.CaptureError,
        f"Net refused the example inputs {REFUSED}; give one batch: a "
        "tensor, a tuple of arguments or a dict of keyword arguments",
    ),
    "a later batch that does not fit": (
        None,
        [X, torch.rand(2, 5)],
        fxq.CalibrationError,
        f"batch 1: the model refused it {REFUSED}; give batches like the example inputs",
    ),
    "a batch of text": (
        None,
        ["text"],
        fxq.CaptureError,
        "Net refused the example inputs (TypeError: linear(): argument 'input' "
        "(position 1) must be Tensor, not str); give one batch: a tensor, a tuple of arguments or a dict of keyword "
        "arguments",
    ),
    "NaN": (
        None,
        [X, X / 0 * 0],
        fxq.CalibrationError,
        "batch 1: node 'x' gave 24 NaN and 0 Inf among 24 values; mend the data or the model",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_used_is_refused_in_one_sentence(case: str, net: nn.Module, core: fxq.Registry) -> None:
    model, batches, error, text = ERRORS[case]
    model = model() if callable(model) else model or net
    with pytest.raises(error) as caught:
        quantize(model, batches() if inspect.isfunction(batches) else batches, core)
    assert str(caught.value) == text


def test_of_what_torch_says_only_the_first_line_is_told(core: fxq.Registry) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    with pytest.raises(fxq.CaptureError) as caught:
        quantize(model, ["text"], core)
    assert str(caught.value) == (
        "Sequential refused the example inputs (TypeError: conv2d() received an invalid combination of arguments - got "
        "(str, Parameter, Parameter, tuple, tuple, tuple, int), but expected one of:); give one batch: a tensor, a "
        "tuple of arguments or a dict of keyword arguments"
    )
    image = torch.rand(1, 3, 5, 5)
    with pytest.raises(fxq.CalibrationError) as caught:
        quantize(model, [image, "text"], core)
    assert "\n" not in str(caught.value)


def test_an_uncalibrated_model_is_refused(net: nn.Module, core: fxq.Registry) -> None:
    with pytest.raises(fxq.CalibrationError) as caught:
        fxq.Quantizer(net, X, "reference", registry=core).quantize()
    assert str(caught.value) == "the model was never calibrated; run calibrate(batches) or observe(batch) first"
