"""The codes of a quantized tensor as bytes: the same memory in any layout."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from fxq_core.native.codes import codes_of, from_codes
from fxq_core.native.layers import QuantizedConstant


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x[:, 1:3, 2:],
        lambda x: x.permute(0, 3, 1, 2),
        lambda x: x[:0],
    ],
)
def test_codes_are_a_view_and_stand_for_the_same_numbers(view: Callable[[torch.Tensor], torch.Tensor]) -> None:
    values = torch.arange(2 * 4 * 5 * 6).to(torch.uint8).reshape(2, 4, 5, 6)
    x = view(torch._make_per_tensor_quantized_tensor(values, 0.5, 3))
    codes = codes_of(x)
    assert torch.equal(codes, x.int_repr())
    assert (codes.stride(), codes.data_ptr()) == (x.stride(), x.data_ptr())
    back = from_codes(codes, 0.5, 3)
    assert torch.equal(back.dequantize(), x.dequantize())
    assert (back.stride(), back.data_ptr()) == (x.stride(), x.data_ptr())
    assert (back.q_scale(), back.q_zero_point(), back.dtype) == (0.5, 3, torch.quint8)


def test_the_memory_lives_as_long_as_a_view_of_it() -> None:
    x = from_codes(torch.full((1000,), 7, dtype=torch.uint8), 0.5, 3)
    torch.full((1000,), 9, dtype=torch.uint8)
    assert x.dequantize().unique().tolist() == [2.0]


def test_a_constant_is_made_once_and_follows_its_codes() -> None:
    constant = QuantizedConstant(torch.tensor([3, 5], dtype=torch.uint8))
    made = constant(0.5, 3)
    assert constant(0.5, 3) is made
    assert made.dequantize().tolist() == [0.0, 1.0]
    assert constant(0.25, 1).dequantize().tolist() == [0.5, 1.0]
    constant.load_state_dict({"codes": torch.tensor([4, 5], dtype=torch.uint8)})
    assert constant(0.5, 3).dequantize().tolist() == [0.5, 1.0]
    constant.load_state_dict({"codes": torch.tensor([5, 5], dtype=torch.uint8)}, assign=True)
    twin = copy.deepcopy(constant)
    assert constant(0.5, 3).dequantize().tolist() == [1.0, 1.0]
    constant.codes.fill_(3)
    assert twin(0.5, 3).dequantize().tolist() == [1.0, 1.0]
