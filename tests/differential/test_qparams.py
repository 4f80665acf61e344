"""The ground for all comparisons: both observe the same, up to the last bit of a scale."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxq_core as fxq

from differential.ao import by_fxq, by_torch


@pytest.mark.parametrize("seed", range(8))
def test_observers_and_weights_agree(engine: str, seed: int, registry: fxq.Registry) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(5, 8, 3), nn.Flatten(2), nn.Linear(9, 4)).eval()
    batches = [(torch.randn(8, 5, 5, 5),) for _ in range(4)]
    theirs = by_torch(model, batches, engine).converted
    ours = by_fxq(model, batches, engine, registry)
    rows = {row.node: row for row in fxq.report(ours).rows}
    for path in ("0", "2"):
        layer, lowered = theirs.get_submodule(path), ours.get_submodule(path)
        row = next(row for row in rows.values() if row.module == path and row.pattern)
        # a division in float32 where ours is in float64: at most one unit in the last place
        assert layer.scale == pytest.approx(row.scale, rel=2.0**-23, abs=0)
        assert layer.zero_point == row.zero_point
        weight = layer.weight()
        assert torch.equal(weight.q_per_channel_scales().float(), lowered.weight_scale)
        # torch.ao multiplies with the reciprocal of a scale, which breaks ties otherwise
        assert (weight.int_repr().short() - lowered.weight.short()).abs().max() <= 1
