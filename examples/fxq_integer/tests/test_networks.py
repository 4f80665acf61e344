"""What the engine is for: networks that run as integers from their input to their output."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import fx, nn

import fxq_core as fxq
from fxq_integer import arithmetic

from fxq_integer_networks import MobileNet, ResNet

# the two ends, and the inside of an average or a pad, which says why its float64 is integer arithmetic
FLOAT = {arithmetic.dequantize, arithmetic.distances}


class Observed(fx.Interpreter):
    """Collects the dtype of each value in a lowered graph."""

    def __init__(self, module: Any) -> None:
        super().__init__(module, graph=module.fxq_graph)
        self.dtypes: dict[fx.Node, torch.dtype] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.dtypes[n] = result.dtype
        return result


@pytest.mark.parametrize("network", [ResNet, MobileNet])
def test_a_network_runs_wholly_in_codes(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = network().eval()
    batches = [torch.randn(8, 3, 16, 16) for _ in range(4)]
    lowered = fxq.quantize(model, batches, engine="integer")
    rows = fxq.report(lowered).rows
    assert [row.op for row in rows if not row.quantized] == ["placeholder", "output"], fxq.report(lowered)
    observed = Observed(lowered)
    observed.run(batches[0])
    averages = {user for node in observed.dtypes if node.target is arithmetic.distances for user in node.users}
    for node, dtype in observed.dtypes.items():
        inside = node.op not in ("placeholder", "output") and node.target not in FLOAT and node not in averages
        assert not inside or dtype is torch.uint8, node.format_node()
    assert all(t.dtype in (torch.int8, torch.uint8, torch.float32, torch.int32) for t in lowered.state_dict().values())


def test_it_is_chosen_by_name_and_needs_nothing_of_torchs_engines() -> None:
    before = torch.backends.quantized.engine
    lowered: Any = fxq.quantize(nn.Linear(4, 4).eval(), [torch.rand(32, 4)], engine="integer")
    assert lowered.fxq_engine == "integer"
    assert "integer" not in torch.backends.quantized.supported_engines
    assert torch.backends.quantized.engine == before


def test_a_layer_whose_sums_may_not_fit_stays_float() -> None:
    model = nn.Sequential(nn.Linear(4, 33_156), nn.Linear(33_156, 1), nn.Linear(1, 33_155), nn.Linear(33_155, 1))
    verdicts = fxq.Quantizer(model.eval(), torch.rand(2, 4), "integer").plan.verdicts
    layers = [(v.quantized, v.reason) for v in verdicts if v.op == "Linear"]
    refused = (False, "each of its sums has 33156 products, and 32 bits are sure to hold 33155")
    assert layers == [(True, ""), refused, (True, ""), (True, "")]


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sum_fits(sign: int) -> None:
    layer = nn.Linear(33_155, 2)
    nn.init.constant_(layer.weight, sign)
    # the largest bias that leaves the scale of the weight as it is
    nn.init.constant_(layer.bias, sign * 33_155.0)
    x = torch.cat([torch.ones(16, 33_155), torch.zeros(16, 33_155)])
    found, wanted = (fxq.quantize(nn.Sequential(layer).eval(), [x], engine=e)(x) for e in ("integer", "reference"))
    assert (found - wanted).abs().max() <= 66_310 / 255 * 1.001


def test_a_table_holds_what_the_function_gives_for_every_code() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4)).eval()
    lowered: Any = fxq.quantize(model, [torch.randn(64, 4)], engine="integer")
    tables = {name: t for name, t in lowered.state_dict().items() if t.dtype is torch.uint8}
    (table,) = tables.values()
    scale, zero_point = next((row.scale, row.zero_point) for row in fxq.report(lowered).rows if row.op == "Linear")
    values = (torch.arange(256) - zero_point) * scale
    assert torch.equal(table, torch.round(torch.sigmoid(values) * 256).clamp(max=255).to(torch.uint8))
