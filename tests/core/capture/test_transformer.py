"""Encoders, decoders and whole transformers become plain layers that compute what torch's own forward does."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

from support.attention import BATCH, CAUSAL, GAP, HEADS, LENGTH, PADDING_MASKS, SIZE, SOURCE, encoder, targets, tensor
from support.quantizing import captured, error, quantized


@pytest.mark.parametrize(
    ("settings", "activation"),
    [
        ({}, "relu"),
        ({"batch_first": True}, "gelu"),
        ({"norm_first": True}, nn.SiLU()),
        ({"batch_first": True, "norm_first": True, "bias": False}, F.relu),
        ({"batch_first": True}, nn.ReLU()),
        ({}, torch.tanh),
    ],
)
def test_an_encoder_layer(settings: dict[str, Any], activation: Any) -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(SIZE, HEADS, 16, activation=activation, **settings)
    x = tensor(BATCH, LENGTH, SIZE, first=settings.get("batch_first", False))
    for masks in ({}, {"src_mask": CAUSAL}, {"src_mask": CAUSAL, "is_causal": True}, {"src_key_padding_mask": GAP}):
        result = captured(model, x, **masks)
        assert list(result.parts) == [""]
        modules = dict(result.root.named_modules())
        linears = [n for n in targets(result) if type(modules.get(n) if isinstance(n, str) else n) is nn.Linear]
        assert linears == [*(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")), "linear1", "linear2"]
    assert list(captured(model, tensor(LENGTH, SIZE)).parts) == [""]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("padding", ["none", "end", "gap", "float"])
@pytest.mark.parametrize("settings", [{"batch_first": True}, {"batch_first": True, "nested": False}, {"nested": False}])
def test_an_encoder(settings: dict[str, Any], padding: str) -> None:
    model, x = encoder(**settings), tensor(BATCH, LENGTH, SIZE, first=settings.get("batch_first", False))
    assert list(captured(model, x, src_key_padding_mask=PADDING_MASKS[padding]).parts) == [""]
    kind = torch.float32 if padding == "float" else torch.bool
    mask = CAUSAL if kind is torch.float32 else CAUSAL.isinf()
    for hint in ({}, {"is_causal": True}):
        result = captured(model, x, mask, PADDING_MASKS[padding], **hint)
        assert list(result.parts) == [""]


@pytest.mark.parametrize("settings", [{}, {"batch_first": True}, {"norm_first": True}])
def test_a_decoder_and_a_whole_transformer(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    first = settings.get("batch_first", False)
    memory, x = tensor(BATCH, SOURCE, SIZE, first=first), tensor(BATCH, LENGTH, SIZE, first=first)
    layer = nn.TransformerDecoderLayer(SIZE, HEADS, 16, **settings)
    seen = torch.zeros(BATCH, SOURCE).masked_fill(torch.arange(SOURCE) > 3, -math.inf)
    for masks in ({}, {"tgt_mask": CAUSAL}, {"tgt_mask": CAUSAL, "memory_key_padding_mask": seen}):
        for model in (layer, nn.TransformerDecoder(layer, 2), nn.TransformerDecoder(layer, 1, nn.LayerNorm(SIZE))):
            assert list(captured(model, x, memory, **masks).parts) == [""]
    whole = nn.Transformer(SIZE, HEADS, 1, 1, 16, **settings).eval() if first else None
    if whole is None:
        parts = {"custom_encoder": encoder(nested=False, **settings), "custom_decoder": nn.TransformerDecoder(layer, 1)}
        whole = nn.Transformer(SIZE, HEADS, **parts, **settings)
    for masks in ({}, {"tgt_mask": CAUSAL, "tgt_is_causal": True}, {"memory_key_padding_mask": seen}):
        assert list(captured(whole, memory, x, **masks).parts) == [""]


def test_an_encoder_is_int8_where_it_has_weights() -> None:
    model, x = encoder(batch_first=True).eval(), tensor(BATCH, LENGTH, SIZE)
    longer = tensor(3, LENGTH + 4, SIZE)
    lowered = quantized(model, x, longer)
    rows = [row for row in fxq.report(lowered).rows if row.op == "Linear"]
    assert [row.quantized for row in rows] == [True] * 12
    assert error(model, lowered, x) < 0.1
    assert error(model, lowered, longer) < 0.1
