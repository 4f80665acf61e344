"""Attention of any form becomes projections and plain ops that compute what torch's own forward does."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.attention import BATCH, LENGTH, PADDING, SIZE, SOURCE, attention, targets, tensor
from support.quantizing import assert_same, captured, quantized, run


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{}, {"bias": False}, {"batch_first": True}, {"batch_first": True, "kdim": 3, "vdim": 4}, {"kdim": 3}],
)
def test_attention_of_any_form(settings: dict[str, Any], batched: bool, need_weights: bool) -> None:
    model, first = attention(**settings), settings.get("batch_first", False)
    batch = (BATCH,) if batched else ()
    query = tensor(*batch, LENGTH, SIZE, first=first)
    key = tensor(*batch, SOURCE, settings.get("kdim", SIZE), first=first)
    value = tensor(*batch, SOURCE, settings.get("vdim", SIZE), first=first)
    for average in (True, False):
        result = captured(model, query, key, value, need_weights=need_weights, average_attn_weights=average)
        assert list(result.parts) == [""]
        found = targets(result)
        projections = [target for target in found if str(target).endswith("_proj")]
        assert projections == ["q_proj", "k_proj", "v_proj", "out_proj"]
        assert (F.scaled_dot_product_attention in found) is not need_weights
        assert found.count(torch.matmul) == 2 * need_weights


@pytest.mark.parametrize("settings", [{"add_bias_kv": True}, {"add_zero_attn": True}])
def test_attention_with_more_keys_than_it_is_given_stays_one_op(settings: dict[str, Any]) -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.last = attention(**settings), nn.Linear(SIZE, 3)

        def forward(self, x: torch.Tensor) -> Any:
            return self.last(self.attention(x, x, x)[0])

    x = tensor(LENGTH, BATCH, SIZE)
    assert targets(captured(Around(), x))[0] == "attention"


def test_the_result_pickles_and_keeps_its_signature() -> None:
    model, x = attention(batch_first=True), tensor(BATCH, LENGTH, SIZE)
    lowered = quantized(model, (x, x, x, PADDING))
    assert list(inspect.signature(lowered.forward).parameters) == list(inspect.signature(model.forward).parameters)
    assert_same(run(pickle.loads(pickle.dumps(lowered)), x, x, x, PADDING), run(lowered, x, x, x, PADDING))
