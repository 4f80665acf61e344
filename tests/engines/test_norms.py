"""Normalizations over channels, for batches large and small, in either memory layout: at most one code off."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F

import fxq_core as fxq
from fxq_core.native.norms import QuantizedNorm

NORMS = {"instance_norm": (), "group_norm": (8,), "group_norm of pairs": (4,), "group_norm of all": (1,)}


@pytest.mark.parametrize("size", [(2, 3), (6, 7), (33, 5), (2, 2, 3)])
@pytest.mark.parametrize("name", NORMS)
def test_a_norm_is_right_for_every_batch_size(
    engine: str, name: str, size: tuple[int, ...], registry: fxq.Registry
) -> None:
    weight, bias = torch.linspace(0.5, 1.5, 8), torch.linspace(-1, 1, 8)
    kernel, leading = name.split()[0], NORMS[name]
    norm = QuantizedNorm(kernel, leading, {"weight": weight, "bias": bias}, 1e-5)
    wanted = functools.partial(F.group_norm, num_groups=(leading or (8,))[0], weight=weight, bias=bias)
    layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    for batch in (0, 1, 3, 16, 64, 128):
        codes = torch.randint(0, 256, (batch, 8, *size), generator=torch.Generator().manual_seed(batch))
        x = torch._make_per_tensor_quantized_tensor(codes.to(torch.uint8), 0.02, 100)
        for given in (x, x.contiguous(memory_format=layout)):
            with registry.engines[engine].active():
                result = norm(given, 0.03, 120)
            expected = (torch.round(wanted(x.dequantize()) / 0.03) + 120).clamp(0, 255)
            assert result.shape == expected.shape
            assert batch == 0 or (expected - result.int_repr()).abs().max() <= 1, batch
