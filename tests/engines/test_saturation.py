"""No int16 sum can saturate: shown with an exact emulation of the kernels that CPUs without VNNI run."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st

from fxq_core.native import saturation
from fxq_core.native.layers import QuantizedConv


def saturating_sums(activations: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``vpmaddubsw``: products of neighbours are added in int16, which saturates; then in int32."""
    products = activations.int() * weight.int()
    pairs = products[..., 0::2] + products[..., 1::2]
    return pairs.clamp(-(2**15), 2**15 - 1).sum(-1)


def exact_sums(activations: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (activations.int() * weight.int()).sum(-1)


def test_the_emulation_shows_the_fault() -> None:
    activations, weight = torch.tensor([[211, 171]]), torch.tensor([[71, 107]], dtype=torch.int8)
    assert exact_sums(activations, weight).item() == 33278
    assert saturating_sums(activations, weight).item() == 32767


weights = st.lists(st.lists(st.integers(-127, 127), min_size=6, max_size=6), min_size=1, max_size=4)
activations = st.lists(st.integers(0, 255), min_size=6, max_size=6)


@settings(max_examples=300, deadline=None)
@given(weights, activations)
def test_narrowed_weights_never_saturate(rows: list[list[int]], values: list[int]) -> None:
    weight, scale = torch.tensor(rows, dtype=torch.int8), torch.ones(len(rows))
    narrowed, wider = saturation.saturation_free(weight, scale)
    assert not saturation.may_saturate(narrowed).any()
    for inputs in (torch.tensor(values), torch.full((6,), 255)):
        assert torch.equal(saturating_sums(inputs, narrowed), exact_sums(inputs, narrowed))
    untouched = ~saturation.may_saturate(weight)
    assert torch.equal(narrowed[untouched], weight[untouched])
    assert torch.equal(wider[untouched], scale[untouched])
    assert ((narrowed * wider.reshape(-1, 1) - weight).abs() <= 1).all()


def test_extreme_weights_are_halved() -> None:
    weight = torch.tensor([[127, 127], [-127, -127], [127, 1], [127, 2]], dtype=torch.int8)
    narrowed, scale = saturation.saturation_free(weight, torch.tensor([1.0, 1.0, 1.0, 1.0]))
    assert narrowed.tolist() == [[64, 64], [-64, -64], [127, 1], [64, 1]]
    assert scale.tolist() == [2.0, 2.0, 1.0, 2.0]


def test_one_scale_narrows_the_whole_weight() -> None:
    weight = torch.tensor([[127, 127], [4, 4]], dtype=torch.int8)
    narrowed, scale = saturation.saturation_free(weight, torch.tensor(1.0))
    assert narrowed.tolist() == [[64, 64], [2, 2]]
    assert scale.item() == 2.0


@pytest.mark.parametrize("name", ["fbgemm", "x86", "onednn"])
def test_without_vnni_weights_are_narrowed_when_they_are_packed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    weight = torch.full((2, 4), 127, dtype=torch.int8)
    assert saturation.safe_kernel(name, weight) == (name, True)
    assert saturation.safe_kernel(name, weight // 2) == (name, False)
    assert saturation.safe_kernel("qnnpack", weight) == ("qnnpack", False)


@pytest.mark.parametrize("name", ["fbgemm", "x86", "onednn"])
def test_with_vnni_only_depthwise_layers_change_their_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.setattr(saturation, "advertised", lambda: {"fbgemm", "onednn", "x86"})
    weight = torch.full((16, 1, 3, 3), 127, dtype=torch.int8)
    assert saturation.safe_kernel(name, weight) == (name, False)
    assert saturation.safe_kernel(name, weight, groups=16, inputs=1) == ("onednn", False)
    assert saturation.safe_kernel(name, weight // 2, groups=16, inputs=1) == (name, False)
    monkeypatch.setattr(saturation, "advertised", lambda: {"fbgemm"})
    assert saturation.safe_kernel("fbgemm", weight, groups=16, inputs=1) == ("fbgemm", True)


@pytest.mark.parametrize("name", ["fbgemm", "x86", "onednn"])
def test_several_outputs_for_each_single_input_are_never_for_onednn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    monkeypatch.setattr(saturation, "advertised", lambda: {"fbgemm", "onednn", "x86"})
    weight = torch.full((16, 1, 3, 3), 127, dtype=torch.int8)
    assert saturation.safe_kernel(name, weight, groups=1, inputs=1) == ("fbgemm", False)
    assert saturation.safe_kernel(name, weight, groups=4, inputs=1) == ("fbgemm", False)
    assert saturation.safe_kernel(name, weight, groups=8, inputs=1) == ("fbgemm", True)
    assert saturation.safe_kernel(name, weight // 2, groups=8, inputs=1) == ("fbgemm", False)
    monkeypatch.setattr(saturation, "advertised", lambda: {"onednn"})
    assert saturation.safe_kernel("onednn", weight, groups=8, inputs=1) == ("onednn", False)


@pytest.mark.parametrize("outputs", [16, 32, 48])
@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_depthwise_layers_are_right_on_this_cpu(engine: str, outputs: int, sign: int) -> None:
    """Where weights are narrowed, 127 becomes 128; the nine products of a window then differ by 255 each."""
    weight = torch.full((outputs, 1, 3, 3), 127 * sign, dtype=torch.int8)
    layer = QuantizedConv(weight, torch.ones(outputs), None, (1, 1), (1, 1), (1, 1), 16, engine)
    x = torch._make_per_tensor_quantized_tensor(torch.full((1, 16, 5, 5), 255, dtype=torch.uint8), 1.0, 0)
    exact = F.conv2d(x.dequantize(), weight.float(), padding=1, groups=16)
    scale = 2400.0  # the largest sum is 293760 with them narrowed
    assert ((layer(x, scale, 128).dequantize() - exact).abs() <= scale / 2 + 9 * 255).all()
