"""E9: on a CPU without VNNI no int16 sum of a packed weight saturates, and the report says why; with it all is kept.

The exact emulation of the saturating kernel, for random and extreme weights, is in
``tests/engines/test_saturation.py``.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.native.saturation import X86, may_saturate


class Wide(nn.Module):
    """Layers of every kind, some of whose channels could saturate."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.depthwise = nn.Conv2d(4, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.up, self.linear, self.calm = nn.ConvTranspose2d(16, 8, 3, padding=1), nn.Linear(8, 8), nn.Linear(8, 4)
        with torch.no_grad():
            for layer in (self.conv, self.depthwise, self.linear):
                layer.weight[::2] = layer.weight[::2].sign()
            # one large weight in each channel: no two of them add up to more than one does
            self.calm.weight[:] = torch.eye(8)[:4] + 0.003

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.calm(self.linear(self.up(self.depthwise(self.conv(x))).mean((2, 3))))


BATCHES = [torch.randn(16, 4, 6, 6, generator=torch.Generator().manual_seed(n)) for n in range(2)]
LAYERS = {"conv": 16, "depthwise": 16, "up": 8, "linear": 8, "calm": 4}


def lowered(engine: str, registry: fxq.Registry, vnni: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    return fxq.quantize(Wide().eval(), BATCHES, engine, registry=registry)


def packed(layer: Any) -> torch.Tensor:
    """The codes of a packed weight, with all that one sum runs over in a row."""
    codes = layer._packed[0].unpack()[0].int_repr()
    return codes.reshape(1, -1) if type(layer).__name__ == "QuantizedConvTranspose" else codes.flatten(1)


def told(qmodel: nn.Module) -> dict[str, str]:
    return dict(fxq.report(qmodel).saturation)


def test_E9_without_vnni_no_packed_weight_breaks_the_pair_rule(
    engine: str, registry: fxq.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    qmodel = lowered(engine, registry, False, monkeypatch)
    reasons = told(qmodel)
    assert set(reasons) == set(LAYERS)
    for name in LAYERS:
        layer = qmodel.get_submodule(name)
        if engine not in X86:
            assert reasons[name] == "its kernel has no int16 sums"
            continue
        assert not may_saturate(packed(layer)).any()
        risky = may_saturate(layer._rows()).any()
        narrowed = "weights that could saturate are narrowed to 7 bits"
        assert reasons[name] == (narrowed if risky else "no pair of its weights can saturate")
    if engine in X86:
        assert reasons["calm"] == "no pair of its weights can saturate"
        assert reasons["conv"] == reasons["linear"] == "weights that could saturate are narrowed to 7 bits"
        line = "saturation is impossible in calm: no pair of its weights can saturate"
        assert line in str(fxq.report(qmodel)).splitlines()


def test_E9_only_the_channels_that_need_it_are_narrowed(
    engine: str, registry: fxq.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = lowered(engine, registry, False, monkeypatch).linear
    codes, kept = packed(layer), layer._rows()
    risky = may_saturate(kept) if engine in X86 else torch.zeros(len(kept), dtype=torch.bool)
    assert torch.equal(codes[~risky], kept[~risky])
    assert torch.equal(codes[risky], torch.round(kept[risky].float() / 2).to(torch.int8))


def test_E9_with_vnni_nothing_is_given_up(engine: str, registry: fxq.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    qmodel = lowered(engine, registry, True, monkeypatch)
    for name in LAYERS:
        layer = qmodel.get_submodule(name)
        if engine in X86:
            kernel, narrow = layer._kernel()
            # FBGEMM's depthwise kernels add in int16 whatever the CPU has, so that layer goes to oneDNN
            reason = "packed for oneDNN, whose kernel adds in int32" if kernel == "onednn" != engine else ""
            assert not narrow
            assert told(qmodel)[name] == (
                "no pair of its weights can saturate"
                if not may_saturate(layer._rows()).any()
                else reason or "this CPU adds in int32 (VNNI)"
            )
        assert layer._packed[0].unpack()[0].int_repr().flatten().tolist() == layer.weight.flatten().tolist()


def test_E9_the_decision_is_that_of_the_cpu_it_wakes_up_on(
    engine: str, registry: fxq.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    qmodel = lowered(engine, registry, True, monkeypatch)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    moved = copy.deepcopy(qmodel)
    if engine in X86:
        assert not any(may_saturate(packed(moved.get_submodule(name))).any() for name in LAYERS)
        assert told(moved)["linear"] == "weights that could saturate are narrowed to 7 bits"
    assert all(torch.equal(tensor, moved.state_dict()[name]) for name, tensor in qmodel.state_dict().items())
