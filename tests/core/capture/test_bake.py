"""Weights that torch computes from others, by parametrizations or hooks, are made once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from support.quantizing import error, patterns, quantized


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def doubled(conv: nn.Module) -> nn.Module:
    for name in ("weight", "bias"):
        nn.utils.parametrize.register_parametrization(conv, name, Doubled())
    return conv


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the old forms are tested too
@pytest.mark.parametrize(
    "form",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        doubled,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
    ],
)
def test_parametrized_weights_are_made_once(form: Any) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(form(nn.Conv2d(3, 3, 3))).eval(), torch.randn(2, 3, 6, 6)
    lowered = quantized(model, x)
    assert patterns(lowered) == {"_0": "conv2d"}
    assert error(model, lowered, x) < 0.02
    assert nn.utils.parametrize.is_parametrized(model[0]) or len(model[0]._forward_pre_hooks) == 1
