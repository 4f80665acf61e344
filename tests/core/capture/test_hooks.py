"""Forward hooks work in the quantized model wherever they were."""

from __future__ import annotations

import torch
from torch import nn

from support.quantizing import error, int8, quantized, run

X = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1))


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1))
        self.alone = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 1e6 else self.alone(self.body(x))


def test_hooks_on_a_batch_norm_and_below_an_untraceable_root() -> None:
    model, calls = Branch().eval(), []
    for name in ("body", "body.1", "alone", ""):
        hooked = model.get_submodule(name)
        hooked.register_forward_hook(lambda module, args, result, name=name: calls.append(name) or result * 2)
    lowered = quantized(model, X)
    calls.clear()
    run(lowered, X)
    assert calls == ["body.1", "body", "alone", ""]
    assert int8(lowered) == ["conv2d", "conv2d"]
    assert error(model, lowered, X) < 0.05
