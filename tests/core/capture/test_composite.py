"""torch.nn's composite layers become plain ones that compute what torch's own forward does."""

from __future__ import annotations

import inspect
import itertools
import math
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.capture.attention import Attention
from fxq_core.capture.composite import decompose
from fxq_core.capture.masks import masked_softmax, merged_mask, without_padding
from fxq_core.capture.tracer import is_layer

from support.quantizing import assert_same, captured, error, int8, quantized, run

BATCH, LENGTH, SOURCE, SIZE, HEADS = 2, 5, 6, 8, 2
CAUSAL = nn.Transformer.generate_square_subsequent_mask(LENGTH)
PADDING = torch.tensor([[False] * 4 + [True], [False] * 5])  # at the end, where torch may drop it
GAP = torch.tensor([[False, True] + [False] * 3, [False] * 5])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def tensor(*shape: int, first: bool = True) -> torch.Tensor:
    x = torch.randn(shape, generator=generator())
    return x if first or len(shape) < 3 else x.transpose(0, 1).contiguous()


def targets(result: Any) -> list[Any]:
    nodes = (node for part in result.parts.values() for node in part.graph.nodes)
    return [n.target for n in nodes if n.op in ("call_module", "call_function")]


def attention(**settings: Any) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(SIZE, HEADS, **settings).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)  # torch's biases are zero
    return module


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
PADDING_MASKS = {"none": None, "end": PADDING, "gap": GAP, "float": torch.zeros(2, 5).masked_fill(PADDING, -math.inf)}


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


def encoder(nested: bool = True, **settings: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(SIZE, HEADS, 16, **settings)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(SIZE), enable_nested_tensor=nested)


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


def test_zeros_at_the_padding_where_torch_leaves_them() -> None:
    ones = torch.ones(2, 5, 1)
    zeros = without_padding(ones, PADDING, check=True)
    assert torch.equal(zeros, without_padding(ones, PADDING_MASKS["float"], check=True))
    assert zeros.squeeze(-1).tolist() == [[1.0, 1.0, 1.0, 1.0, 0.0], [1.0] * 5]
    assert torch.equal(without_padding(ones, GAP, check=True), ones)
    assert without_padding(ones, GAP, check=False)[0, 1].item() == 0
    assert torch.equal(without_padding(ones[0], PADDING[0], check=True), ones[0])


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


def test_hooks_on_and_in_a_composite_layer_are_kept() -> None:
    model, x, calls = encoder(batch_first=True).eval(), tensor(BATCH, LENGTH, SIZE), []
    model.layers[0].register_forward_hook(lambda module, args, result: calls.append("layer") or result * 2)
    model.layers[1].self_attn.register_forward_pre_hook(lambda module, args: calls.append("attention"))
    model.layers[1].linear2.register_forward_hook(lambda module, args, result: calls.append("linear") or -result)
    result = captured(model, x)
    assert result.left["layers.0"] == "it has forward hooks, which are kept"
    lowered = quantized(model, x)
    calls.clear()
    assert error(model, lowered, x) < 0.2
    assert calls == ["layer", "attention", "linear"] * 2
    assert int8(lowered).count("linear") + int8(lowered).count("linear_relu") >= 5


class Branch(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return x if x.sum() > 1e6 else self.inner(x)


def test_a_composite_layer_under_an_untraceable_root() -> None:
    model, x = Branch(encoder(batch_first=True)).eval(), tensor(BATCH, LENGTH, SIZE)
    assert list(captured(model, x).parts) == ["inner"]
    assert error(model, quantized(model, x), x) < 0.1


@pytest.mark.parametrize("kind", [nn.TransformerEncoderLayer, nn.MultiheadAttention])
def test_a_subclass_keeps_its_own_forward(kind: Any) -> None:
    class Own(kind):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> Any:
            arguments = (x, x, x) if kind is nn.MultiheadAttention else (x,)
            result = super().forward(*arguments)
            return 2 * (result[0] if isinstance(result, tuple) else result)

    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(SIZE, SIZE), Own(SIZE, HEADS, batch_first=True)).eval(), tensor(2, 5, SIZE)
    captured(model, x)
    assert error(model, quantized(model, x), x) < 0.1


def test_code_that_reads_the_packed_weights_keeps_torchs_own_layer() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.last = attention(batch_first=True), nn.Linear(SIZE, 3)

        def forward(self, x: torch.Tensor) -> Any:
            return self.last(self.attention(x, x, x)[0] * self.attention.in_proj_weight.mean())

    model, x = Reads().eval(), tensor(BATCH, LENGTH, SIZE)
    result = captured(model, x)
    assert type(result.root.get_submodule("attention")) is nn.MultiheadAttention
    assert error(model, quantized(model, x), x) < 0.05


def test_what_is_decomposed_is_no_layer_and_still_torchs_type() -> None:
    module = attention()
    assert is_layer(module)
    decompose(module)
    assert type(module) is Attention
    assert isinstance(module, nn.MultiheadAttention)
    assert not is_layer(module)
    assert type(module.out_proj) is nn.Linear
    assert sorted(module.state_dict()) == sorted(
        f"{name}_proj.{kind}" for name in ("q", "k", "v", "out") for kind in ("weight", "bias")
    )
    with pytest.raises(RuntimeError) as raised:
        module(*[tensor(LENGTH, SIZE)] * 3, is_causal=True)
    assert str(raised.value) == "is_causal is a hint about attn_mask, which is None"


def test_masks_as_numbers() -> None:
    query = torch.zeros(1, HEADS, 2, 4)
    causal = torch.tensor([[False, True], [False, False]])
    assert merged_mask(causal, torch.tensor([[True, False]]), query).tolist() == [
        [[[-math.inf, -math.inf], [-math.inf, 0.0]]]
    ]
    assert masked_softmax(torch.zeros(2, 2), merged_mask(causal, None, query)).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_the_result_pickles_and_keeps_its_signature() -> None:
    model, x = attention(batch_first=True), tensor(BATCH, LENGTH, SIZE)
    lowered = quantized(model, (x, x, x, PADDING))
    assert list(inspect.signature(lowered.forward).parameters) == list(inspect.signature(model.forward).parameters)
    assert_same(run(pickle.loads(pickle.dumps(lowered)), x, x, x, PADDING), run(lowered, x, x, x, PADDING))
