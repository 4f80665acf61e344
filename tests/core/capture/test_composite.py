"""torch.nn's composite layers become plain ones; what is hooked, subclassed or read elsewhere stays as torch has it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fxq_core.capture.attention import Attention
from fxq_core.capture.composite import decompose
from fxq_core.capture.tracer import is_layer

from support.attention import BATCH, HEADS, LENGTH, SIZE, attention, encoder, tensor
from support.quantizing import captured, error, int8, quantized


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
