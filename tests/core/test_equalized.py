"""Whole networks with equalized layers: they gain where weights have one scale, and are compared as what they are."""

from __future__ import annotations

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.noise import sqnr

from support.quantizing import quantizer, run

X = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))
EQUALIZE = fxq.Config(equalize=True)
NOTE = "its output channels are equalized with the input channels of"


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(4, 12, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, groups=12, padding=1), nn.ReLU(), nn.Conv2d(12, 4, 1)
    ).eval()
    with torch.no_grad():
        spread = torch.exp(torch.linspace(-4, 4, 12))
        made[0].weight *= spread.reshape(-1, 1, 1, 1)
        made[0].bias *= spread
        made[2].weight *= spread.flip(0).reshape(-1, 1, 1, 1) / spread.reshape(-1, 1, 1, 1)
        made[4].weight /= spread.flip(0).reshape(1, -1, 1, 1)
    return made


def test_a_depthwise_chain_with_one_weight_scale_in_all_gains() -> None:
    model, rules = chain(), (fxq.Rule("*", weight="per-tensor"),)
    before, after = (
        quantizer(model, X, config=fxq.Config(rules=rules, equalize=equalize)).calibrate([X]).quantize()
        for equalize in (False, True)
    )
    assert fxq.report(after).equalized == (("", "_0", "_2"), ("", "_2", "_4"))
    assert fxq.report(after).notes == (("0", f"{NOTE} 2"), ("2", f"{NOTE} 4"))
    assert sqnr(run(model, X), run(after, X)) > sqnr(run(model, X), run(before, X)) + 10


def test_compare_sets_the_values_beside_those_of_the_equalized_network() -> None:
    model = chain()
    lowered = quantizer(model, X, config=EQUALIZE).calibrate([X]).quantize()
    found = fxq.compare(model, lowered, X, registry=fxq.load_plugins())
    assert min(row.sqnr for row in found.rows) > 20


def test_each_part_has_its_own_pairs() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = chain(), chain()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.left(x) if x.sum() > 1e9 else self.right(self.left(x))

    model = Gate().eval()
    q = quantizer(model, X, config=EQUALIZE).calibrate([X])
    assert [len(part.equalized) for part in q.plan.parts] == [2, 2]
    assert q.plan.notes["left.0"] == f"{NOTE} left.2"
    lowered = q.quantize()
    assert fxq.report(lowered).equalized[2] == ("right", "_0", "_2")
    assert min(row.sqnr for row in fxq.compare(model, lowered, X).rows) > 20
