"""Models of several engines in one process: each gives what it gives alone, also from many threads at once."""

from __future__ import annotations

import threading

import torch
from torch import nn

import fxq_core as fxq

ENGINES = ("fbgemm", "onednn", "qnnpack", "x86")


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x) + x).mean((2, 3))


def test_engines_do_not_disturb_each_other() -> None:
    torch.manual_seed(0)
    model, x = Residual().eval(), torch.randn(2, 4, 8, 8)
    before = torch.backends.quantized.engine
    lowered = {name: fxq.quantize(model, [x], name) for name in ENGINES}
    alone = {name: module(x) for name, module in lowered.items()}
    for _ in range(3):
        for name, module in lowered.items():
            assert torch.equal(module(x), alone[name]), name
    assert torch.backends.quantized.engine == before


def test_many_threads_and_two_engines_stay_within_one_code() -> None:
    torch.manual_seed(0)
    model, x = Residual().eval(), torch.randn(2, 4, 8, 8)
    lowered = {name: fxq.quantize(model, [x], name) for name in ("x86", "qnnpack")}
    alone = {name: module(x) for name, module in lowered.items()}
    furthest: list[float] = []
    before = torch.backends.quantized.engine

    def run(name: str) -> None:
        scale = float(fxq.report(lowered[name]).rows[-2].scale or 0.0)
        for _ in range(50):
            # if another thread changes torch's engine in the middle, additions and means round its way
            furthest.append(float((lowered[name](x) - alone[name]).abs().max()) / scale)

    threads = [threading.Thread(target=run, args=(name,)) for name in 2 * ("x86", "qnnpack")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.backends.quantized.engine == before
    assert len(furthest) == 200
    assert max(furthest) < 2.5  # one code in the addition, and at most one more in the mean of it
