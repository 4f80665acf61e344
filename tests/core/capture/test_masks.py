"""Masks of every form, alone and together, mean in the graph what they mean to torch."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from fxq_core.capture.masks import masked_softmax, merged_mask, without_padding

from support.attention import (
    BATCH,
    CAUSAL,
    GAP,
    HEADS,
    LENGTH,
    PADDING,
    PADDING_MASKS,
    SIZE,
    attention,
    generator,
    tensor,
)
from support.quantizing import captured, error, quantized


def open_at_first(mask: torch.Tensor) -> torch.Tensor:
    """A mask that leaves each query something to attend to."""
    mask[..., 0] = False
    return mask


ATTENTION_MASKS = {
    "none": None,
    "bool": open_at_first(torch.rand(LENGTH, LENGTH, generator=generator()) > 0.7),
    "float": torch.randn(LENGTH, LENGTH, generator=generator()),
    "causal": CAUSAL,
    "bool 3-d": open_at_first(torch.rand(BATCH * HEADS, LENGTH, LENGTH, generator=generator()) > 0.7),
    "float 3-d": torch.randn(BATCH * HEADS, LENGTH, LENGTH, generator=generator()),
}


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask and attn_mask")
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("padding", PADDING_MASKS)
@pytest.mark.parametrize("mask", ATTENTION_MASKS)
def test_attention_under_masks(mask: str, padding: str, need_weights: bool) -> None:
    x, masks = (
        tensor(BATCH, LENGTH, SIZE),
        {"attn_mask": ATTENTION_MASKS[mask], "key_padding_mask": PADDING_MASKS[padding]},
    )
    for model, value in ((attention(batch_first=True), x), (attention(), x.transpose(0, 1))):
        result = captured(model, value, value, value, need_weights=need_weights, **masks)
        assert list(result.parts) == [""]
        if mask == "causal":
            captured(model, value, value, value, need_weights=need_weights, is_causal=True, **masks)


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_without_a_batch_under_masks(need_weights: bool) -> None:
    x, per_head = tensor(LENGTH, SIZE), torch.randn(HEADS, LENGTH, LENGTH, generator=generator())
    for attn_mask, padding in itertools.product((None, CAUSAL, per_head), (None, PADDING_MASKS["float"][0])):
        masks = {"attn_mask": attn_mask, "key_padding_mask": padding}
        assert list(captured(attention(), x, x, x, need_weights=need_weights, **masks).parts) == [""]


def test_zeros_at_the_padding_where_torch_leaves_them() -> None:
    ones = torch.ones(2, 5, 1)
    zeros = without_padding(ones, PADDING, check=True)
    assert torch.equal(zeros, without_padding(ones, PADDING_MASKS["float"], check=True))
    assert zeros.squeeze(-1).tolist() == [[1.0, 1.0, 1.0, 1.0, 0.0], [1.0] * 5]
    assert torch.equal(without_padding(ones, GAP, check=True), ones)
    assert without_padding(ones, GAP, check=False)[0, 1].item() == 0
    assert torch.equal(without_padding(ones[0], PADDING[0], check=True), ones[0])


def test_minus_infinity_in_a_mask_does_not_stop_calibration() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention(batch_first=True)

        def forward(self, x: torch.Tensor) -> Any:
            return self.attention(x, x, x, attn_mask=CAUSAL.to(x.dtype))

    model, x = Masked().eval(), tensor(BATCH, LENGTH, SIZE)
    lowered = quantized(model, x)
    assert error(model, lowered, x) < 0.1


def test_masks_as_numbers() -> None:
    query = torch.zeros(1, HEADS, 2, 4)
    causal = torch.tensor([[False, True], [False, False]])
    assert merged_mask(causal, torch.tensor([[True, False]]), query).tolist() == [
        [[[-math.inf, -math.inf], [-math.inf, 0.0]]]
    ]
    assert masked_softmax(torch.zeros(2, 2), merged_mask(causal, None, query)).tolist() == [[1.0, 0.0], [0.5, 0.5]]
