"""Model by model: at least as many layers in int8 as torch.ao has, and at least as close to float."""

from __future__ import annotations

import pytest
import torch
from torch import fx

import fxq_core as fxq

from differential.ao import NOISE, by_fxq, by_torch, layers, mean_ratio, squared_errors
from gallery import GALLERY, trained

SEEDS = 3
UNTRACEABLE = {"yolo"}


@pytest.mark.parametrize("name", GALLERY)
def test_a_model_is_at_least_as_close_to_float(engine: str, name: str, registry: fxq.Registry) -> None:
    entry = GALLERY[name]
    pairs = []
    for seed in range(SEEDS):
        torch.manual_seed(100 + seed)
        model = trained(entry, seed)
        batches = [entry.inputs(8) for _ in range(4)]
        unseen = [entry.inputs(16) for _ in range(4)]
        ours = by_fxq(model, batches, engine, registry)
        if name in UNTRACEABLE:
            with pytest.raises(fx.proxy.TraceError):
                by_torch(model, batches, engine)
            assert layers(ours) > 0
            return
        theirs = by_torch(model, batches, engine)
        assert layers(ours) >= theirs.layers() > 0
        # a model of which torch.ao leaves most in float is not one that both quantize
        if layers(ours) == theirs.layers():
            pairs.append(squared_errors(model, unseen, ours, theirs))
    assert not pairs or mean_ratio(pairs) < NOISE
