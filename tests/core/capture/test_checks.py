"""What can't be taken in is refused in a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.capture.checks import check_arguments, check_model

from support.quantizing import quantizer

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
            "'weight' is on device meta; call model.cpu() before quantizing",
        ),
        (nn.Linear(3, 3).double().eval(), "'weight' is torch.float64; call model.float() before quantizing"),
        (nn.Linear(3, 3).bfloat16().eval(), "'weight' is torch.bfloat16; call model.float() before quantizing"),
        (half_buffer(), "'0.table' is torch.float16; call model.float() before quantizing"),
    ],
)
def test_models_that_are_refused(model: Any, message: str) -> None:
    with pytest.raises(fxq.CaptureError) as raised:
        check_model(model)
    assert str(raised.value) == message


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
