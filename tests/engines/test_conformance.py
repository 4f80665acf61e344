"""Every engine under test passes the conformance kit, like anybody's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from fxq_core.testing import EngineSuite, Sample

from support.engines import NAMED, usable_engines

# what oneDNN computes in one step
FUSES = bool({"x86", "onednn"} & set(NAMED or usable_engines()))
SAMPLES = {
    "conv silu": Sample("conv2d_silu", F.silu),
    "conv hardswish": Sample("conv2d_hardswish", nn.Hardswish()),
    "linear silu": Sample("linear_silu", nn.Sequential(nn.Linear(7, 5), nn.SiLU())),
    "linear hardswish": Sample("linear_hardswish", nn.Sequential(nn.Linear(7, 5), nn.Hardswish())),
    "linear gelu": Sample("linear_gelu", nn.Sequential(nn.Linear(7, 5), nn.GELU())),
}


class TestConformance(EngineSuite):
    complete = True
    samples = SAMPLES if FUSES else {}

    @classmethod
    def engines(cls) -> tuple[str, ...]:
        return tuple(NAMED or usable_engines())
