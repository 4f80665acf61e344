"""Sums in which one operand is repeated: as in float, and without a word from torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.testing import Sample

SUMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "number first": lambda x: 1 + x,
    "number last": lambda x: x + 1,
    "from a number": lambda x: 1 - x,
    "mean first": lambda x: x.mean((2, 3), keepdim=True) + x,
    "from a mean": lambda x: x.mean((2, 3), keepdim=True) - x,
}


@pytest.mark.parametrize("name", SUMS)
def test_torch_does_not_warn_of_a_resized_sum(
    engine: str, name: str, registry: fxq.Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    sample = Sample("add", SUMS[name])
    model: nn.Module = sample.model()
    batches = [sample.batch(4, seed) for seed in range(3)]
    lowered = fxq.quantize(model, batches, engine, registry=registry)
    with torch.no_grad():
        result, wanted = lowered(batches[0]), model(batches[0])
    # the kernel's warning is printed by C++, past Python's
    assert capfd.readouterr().err == ""
    assert result.shape == wanted.shape
    assert (result - wanted).abs().max() < 0.1 * wanted.abs().max()
