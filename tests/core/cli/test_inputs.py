"""SHAPE: how it is read, what is made of it, and what is guessed."""

from __future__ import annotations

import click
import pytest
import torch
from torch import nn

from fxq_core.cli.inputs import DTYPES, Input, guess, read_input


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("1,3,224,224", Input((1, 3, 224, 224))),
        ("8", Input((8,))),
        ("0,3", Input((0, 3))),
        (" 1, 16 :int64", Input((1, 16), "int64")),
        ("2:bool", Input((2,), "bool")),
    ],
)
def test_it_is_sizes_and_a_dtype(text: str, given: Input) -> None:
    assert read_input(text) == given


@pytest.mark.parametrize("given", [Input((1, 3, 4)), Input((1, 16), "int64")])
def test_it_is_written_as_it_is_read(given: Input) -> None:
    assert read_input(str(given)) == given


@pytest.mark.parametrize("text", ["", "1,", "1x3", "1,-1", "-1", "a", "1.5", "(1,3)", ":int64", "²"])
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        read_input(text)
    sizes = "write its sizes with commas, such as 1,3,224,224"
    assert caught.value.message == f"{text!r} is no shape; {sizes}"


@pytest.mark.parametrize("dtype", ["", "float", "complex64", "nn"])
def test_what_is_no_dtype(dtype: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        read_input(f"1:{dtype}")
    assert caught.value.message == (
        f"{dtype!r} is no dtype; it is one of "
        "float32, float64, float16, bfloat16, int64, int32, int16, int8, uint8, bool"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_of_every_dtype(dtype: str) -> None:
    tensor = Input((3, 50), dtype).make()
    assert (tensor.shape, tensor.dtype) == ((3, 50), getattr(torch, dtype))
    if tensor.is_floating_point():
        assert tensor.unique().numel() > 50
    else:
        assert tensor.unique().tolist() == [dtype == "bool"]


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.Conv1d(2, 2, 1)), "1,6"),
        (nn.Sequential(nn.ReLU(), nn.Conv1d(4, 8, 3)), "1,4,64"),
        (nn.Conv2d(3, 8, 3), "1,3,224,224"),
        (nn.Conv3d(2, 8, 3), "1,2,32,32,32"),
        (nn.Embedding(5, 3), "1,16:int64"),
    ],
)
def test_a_guess_is_a_batch_for_the_first_layer(model: nn.Module, given: str) -> None:
    assert str(guess(model)) == given


def test_no_layer_no_guess() -> None:
    assert guess(nn.ReLU()) is None
