"""A third party's distribution, installed and not imported: its pattern is used on engines that it never heard of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.testing.agreement import Agreement


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(6, 8), nn.CELU(0.7), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.first(x)))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


BATCHES = [torch.randn(16, 6, generator=torch.Generator().manual_seed(n)) for n in range(4)]


def test_its_pattern_is_int8_on_every_engine_of_the_family(engine: str, net: nn.Module) -> None:
    lowered = fxq.quantize(net, BATCHES, engine)
    rows = {row.node: row for row in fxq.report(lowered).rows}
    assert (rows["act"].quantized, rows["act"].pattern, rows["act"].provider) == (True, "celu", "fxq-celu 0.1.0")
    assert [row.node for row in rows.values() if not row.quantized] == ["x", "output"]
    with torch.no_grad():
        assert (lowered(BATCHES[0]) - net(BATCHES[0])).abs().max() < 0.05


def test_its_op_agrees_with_the_reference(engine: str, net: nn.Module) -> None:
    differences = Agreement(fxq.Quantizer(net, BATCHES[0], engine).calibrate(BATCHES)).differences(BATCHES[0])
    assert set(differences) == {"first", "act", "last"}
    assert max(found.codes for found in differences.values()) <= 1


def test_without_it_the_op_stays_float_and_the_plan_says_so(net: nn.Module) -> None:
    registry = fxq.load_plugins(block=("fxq-celu",))
    verdicts = {v.node: v for v in fxq.Quantizer(net, BATCHES[0], "x86", registry=registry).plan.verdicts}
    assert (verdicts["act"].quantized, verdicts["act"].reason) == (False, "no installed pattern matches it")
