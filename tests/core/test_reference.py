"""The reference engine against arithmetic written out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st
from torch import nn

import fxq_core as fxq
from fxq_core.context import QWeight
from fxq_core.reference import REFERENCE, ReferenceLayer, fake_quantize

from support.quantizing import int8, quantized, run

X = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(2))


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1),
    st.floats(2.0**-10, 10, width=32),
    st.sampled_from([(0, 0, 255), (128, 0, 255), (255, 0, 255), (7, 0, 127), (0, -127, 127)]),
)
def test_rounding_is_to_the_nearest_code_and_stays(
    values: list[float], scale: float, codes: tuple[int, int, int]
) -> None:
    zero_point, qmin, qmax = codes
    x = torch.tensor(values)
    result = fake_quantize(x, scale, zero_point, qmin, qmax)
    on_grid = result.double() / scale + zero_point
    assert torch.allclose(on_grid, on_grid.round(), atol=1e-4)
    assert on_grid.min() >= qmin - 1e-4
    assert on_grid.max() <= qmax + 1e-4
    nearest = (x.double() / scale + zero_point).clamp(qmin, qmax)
    assert (on_grid - nearest).abs().max() <= 0.5 + 1e-3
    assert torch.equal(fake_quantize(result, scale, zero_point, qmin, qmax), result)
    assert fake_quantize(torch.zeros(1), scale, zero_point, qmin, qmax).item() == 0


def test_halves_round_to_even() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert fake_quantize(x, 1.0, 10, 0, 255).tolist() == [0.0, 2.0, 2.0, 0.0, -2.0]


def test_a_layer_keeps_codes() -> None:
    codes = torch.tensor([[1, -127], [5, 100]], dtype=torch.int8)
    layer = ReferenceLayer(QWeight(codes, torch.tensor([0.5, 2.0]), 0, torch.tensor([1.0, 0.0])), F.linear)
    assert layer(torch.tensor([[2.0, 1.0]])).tolist() == [[0.5 * (2 - 127) + 1, 2.0 * 110]]
    assert {name: value.dtype for name, value in layer.state_dict().items()} == {
        "weight": torch.int8, "weight_scale": torch.float32, "bias": torch.float32,
    }  # fmt: skip
    assert repr(layer) == "ReferenceLayer(linear, {})"
    one = ReferenceLayer(QWeight(codes, torch.tensor(0.5), None), F.linear)
    assert one(torch.tensor([[2.0, 1.0]])).tolist() == [[0.5 * (2 - 127), 0.5 * 110]]


def by_hand(
    layer: Any, bias: torch.Tensor, x: torch.Tensor, rows: dict[str, Any], function: Any, **numbers: Any
) -> torch.Tensor:
    """Input, weight per channel and output rounded, as the design says."""
    weight = layer.weight.detach()
    scale = (weight.flatten(1).abs().amax(1).double() / 127).float().reshape(-1, *[1] * (weight.dim() - 1))
    rounded = torch.round(weight / scale).clamp(-127, 127) * scale
    entry, leave = rows["input_1"], rows["_0"]
    inside = fake_quantize(x, entry.scale, entry.zero_point, 0, 255)
    return fake_quantize(function(inside, rounded, bias, **numbers), leave.scale, leave.zero_point, 0, 255)


@pytest.mark.parametrize(
    ("layer", "function", "numbers"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2), F.conv2d, {"stride": 2, "padding": 1, "dilation": 2}),
        (nn.Conv2d(4, 8, 1, groups=4, bias=False), F.conv2d, {"groups": 4}),
        (nn.Linear(6, 5), F.linear, {}),
        (nn.Linear(6, 5, bias=False), F.linear, {}),
    ],
)
def test_a_lowered_layer_is_what_one_computes_by_hand(layer: nn.Module, function: Any, numbers: Any) -> None:
    lowered: Any = quantized(nn.Sequential(layer), X)
    rows = {row.node: row for row in fxq.report(lowered).rows}
    bias = lowered.state_dict()["0.bias"]
    assert torch.equal(run(lowered, X), by_hand(layer, bias, X, rows, function, **numbers).detach())


@pytest.mark.parametrize(("kind", "dims"), [(nn.Conv1d, 1), (nn.Conv3d, 3)])
def test_other_convolutions(kind: Any, dims: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, *(4,) * dims)
    lowered = quantized(nn.Sequential(kind(4, 3, 2), nn.ReLU()), x)
    assert int8(lowered) == [f"conv{dims}d_clamp"] * 2
    assert (run(lowered, x) >= 0).all()


def test_a_dead_channel_and_a_large_bias_are_finite_and_exact() -> None:
    layer = nn.Conv2d(4, 3, 1)
    with torch.no_grad():
        layer.weight[1] = 0
        layer.weight[2] *= 1e-20
        layer.bias.copy_(torch.tensor([1e6, -3.0, 7.0]))
    lowered: Any = quantized(nn.Sequential(layer), X)
    rows = {row.node: row for row in fxq.report(lowered).rows}
    weight_scale = lowered.state_dict()["0.weight_scale"]
    assert torch.isfinite(weight_scale).all()
    assert (layer.bias.abs() / (rows["input_1"].scale * weight_scale.double()) <= 2.0**30 * 1.001).all()
    assert (run(lowered, X) - run(nn.Sequential(layer), X)).abs().max() <= rows["_0"].scale


@pytest.mark.parametrize(("op", "scale", "zero_point"), [(torch.sigmoid, 1 / 256, 0), (torch.tanh, 1 / 128, 128)])
def test_prescribed_ranges(op: Any, scale: float, zero_point: int) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return op(self.layer(x))

    torch.manual_seed(0)
    model = Net()
    lowered = quantized(model, 100 * X)
    row = next(row for row in fxq.report(lowered).rows if row.node == op.__name__)
    assert (row.scale, row.zero_point) == (scale, zero_point)
    codes = run(lowered, 100 * X) / scale + zero_point
    assert torch.equal(codes, codes.round())
    assert (codes.min(), codes.max()) == (0, 255)


def test_it_is_never_chosen_by_itself_and_runs_everywhere() -> None:
    assert (REFERENCE.reject(), REFERENCE.finish) == (None, None)
    with REFERENCE.active():
        pass
    with pytest.raises(fxq.EngineError):
        quantized(nn.Sequential(nn.Linear(6, 5)), X, engine=None)
