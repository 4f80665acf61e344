"""What can't be taken in is refused in a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.capture.checks import check_arguments, check_model

from support.quantizing import error, int8, quantized, quantizer

X = torch.randn(2, 3)


def half_buffer() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3)).eval()
    model[0].register_buffer("table", torch.zeros(2, dtype=torch.float16))
    return model


def one_in_training() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout()).eval()
    model[1].train()
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (print, "got a builtin_function_or_method where a torch.nn.Module is needed; pass the model itself"),
        (nn.Linear, "got a type where a torch.nn.Module is needed; pass the model itself"),
        (
            nn.Sequential(nn.Linear(3, 3)),
            "2 of the modules of Sequential are in train mode, the first is the root; "
            "call model.eval() before quantizing",
        ),
        (
            one_in_training(),
            "1 of the modules of Sequential are in train mode, the first at '1'; call model.eval() before quantizing",
        ),
        (
            nn.Linear(3, 3, device="meta").eval(),
            "'weight' of the root (Linear) is on device meta; call model.cpu() before quantizing",
        ),
        (
            nn.Linear(3, 3).double().eval(),
            "'weight' of the root (Linear) is torch.float64; call model.float() before quantizing",
        ),
        (
            nn.Linear(3, 3).bfloat16().eval(),
            "'weight' of the root (Linear) is torch.bfloat16; call model.float() before quantizing",
        ),
        (half_buffer(), "'table' of module '0' (Linear) is torch.float16; call model.float() before quantizing"),
    ],
)
def test_models_that_are_refused(model: Any, message: str) -> None:
    with pytest.raises(fxq.CaptureError) as raised:
        check_model(model)
    assert str(raised.value) == message


def complex_table() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3)).eval()
    model[0].register_buffer("table", torch.zeros(2, dtype=torch.complex64))
    return model


def complex_weight() -> nn.Module:
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 3))).eval()
    model[0].register_parameter("gain", nn.Parameter(torch.zeros(2, dtype=torch.complex64)))
    return model


@pytest.mark.parametrize(
    ("make", "place"),
    [(complex_table, "'table' of module '0' (Linear)"), (complex_weight, "'gain' of module '0' (Sequential)")],
)
def test_complex_tensors_are_refused(make: Any, place: str) -> None:
    with pytest.raises(fxq.CaptureError) as raised:
        check_model(make())
    assert str(raised.value) == (
        f"{place} is torch.complex64; int8 stands for real numbers only, so split it with torch.view_as_real"
    )


def test_a_quantized_model_is_refused() -> None:
    inner = quantized(nn.Sequential(nn.Linear(3, 3)), X)
    for model, place in ((inner, "the root"), (nn.Sequential(inner).eval(), "module '0'")):
        with pytest.raises(fxq.CaptureError) as raised:
            quantizer(model, X)
        assert str(raised.value) == (
            f"{place} (QuantizedModule) is quantized already; quantize the float model it was made from"
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_refused_input_of_another_dtype_is_explained(dtype: torch.dtype) -> None:
    with pytest.raises(fxq.CaptureError) as raised:
        quantizer(nn.Sequential(nn.Linear(3, 3)), X.to(dtype))
    assert str(raised.value) == f"argument 0 is {dtype}, which the model refused; convert it with .float()"


class Inside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: Any) -> Any:
        return self.layer(inputs["x"][0])


def test_a_refused_complex_input_is_explained_wherever_it_is() -> None:
    with pytest.raises(fxq.CaptureError) as raised:
        quantizer(Inside(), {"inputs": {"x": [X.to(torch.complex64)]}})
    assert str(raised.value) == (
        "argument 'inputs'['x'][0] is torch.complex64, which the model refused; "
        "int8 stands for real numbers only, so split it with torch.view_as_real"
    )
    with pytest.raises(fxq.CaptureError) as raised:
        quantizer(Inside(), ({"x": [X.to("meta")]},))
    assert str(raised.value) == "argument 0['x'][0] is on device meta; move it with .cpu()"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64, torch.int32, torch.bool])
def test_a_model_may_take_any_dtype_that_it_converts_itself(dtype: torch.dtype) -> None:
    class Converts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.real.float() if dtype is torch.complex64 else x.float())

    model, x = Converts().eval(), X.to(dtype)
    lowered = quantized(model, x)
    assert "linear" in int8(lowered)
    assert error(model, lowered, x) < 0.05


def test_integer_buffers_are_fine() -> None:
    check_model(nn.BatchNorm2d(3).eval())


def test_arguments_on_another_device_are_refused() -> None:
    check_arguments(((X, 3), {"y": None}))
    for arguments, name in (((X.to("meta"),), "0"), ((), "'y'")):
        with pytest.raises(fxq.CaptureError) as raised:
            check_arguments((arguments, {} if arguments else {"y": X.to("meta")}))
        assert str(raised.value) == f"argument {name} is on device meta; move it with .cpu()"


def test_an_example_that_does_not_fit() -> None:
    with pytest.raises(fxq.CaptureError) as raised:
        quantizer(nn.Sequential(nn.Linear(3, 3)), torch.randn(2, 4))
    assert str(raised.value) == (
        "Sequential refused the example inputs "
        "(RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x4 and 3x3)); "
        "give one batch: a tensor, a tuple of arguments or a dict of keyword arguments"
    )


def test_a_model_that_can_not_be_copied() -> None:
    class Stuck(nn.Module):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no copies of me")

    with pytest.raises(fxq.CaptureError) as raised:
        quantizer(Stuck(), X)
    assert str(raised.value) == (
        "Stuck can't be copied (TypeError: no copies of me); make copy.deepcopy(model) work first"
    )
