"""Entries 1 to 11: ranges, scales and weights."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from seed_defects.oracle import int8_weight, on_grid, quantized


def layer_with(weight: torch.Tensor, registry: fxq.Registry) -> nn.Module:
    """The quantized form of a linear layer with this weight."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight)
    qmodel, _ = quantized(nn.Sequential(layer), torch.randn(4, weight.shape[1]), registry=registry)
    return qmodel.get_submodule("0")


def error_in_steps(layer: nn.Module, weight: torch.Tensor) -> float:
    """The largest distance between a weight and what its codes stand for, in steps of its channel."""
    steps = layer.weight_scale.double().reshape(-1, 1)
    return ((weight.double() / steps) - layer.weight.double()).abs().max().item()


def test_seed_01_the_largest_weights_are_not_clipped(registry: fxq.Registry) -> None:
    weight = torch.linspace(-1, 1, 1001).reshape(1, -1)
    layer = layer_with(weight, registry)
    assert (layer.weight.min(), layer.weight.max()) == (-127, 127)
    assert error_in_steps(layer, weight) <= 0.5 + 1e-5  # float32 divisions may cross a tie


def test_seed_02_weights_without_a_positive_one(registry: fxq.Registry) -> None:
    conv = nn.Conv2d(3, 4, 3)
    conv.weight = nn.Parameter(-torch.rand_like(conv.weight) - 0.1)
    x = torch.randn(2, 3, 6, 6)
    qmodel, row = quantized(nn.Sequential(conv), x, registry=registry)
    expected = F.conv2d(on_grid(x, row.input_1), int8_weight(conv.weight), conv.bias)
    assert torch.equal(qmodel(x), on_grid(expected, row._0))
    assert qmodel.get_submodule("0").weight.amin((1, 2, 3)).tolist() == [-127] * 4


def test_seed_03_weights_have_zero_point_0(registry: fxq.Registry) -> None:
    weight = torch.linspace(0.5, 1, 64).reshape(1, -1)  # an affine range would put 0 at an end of the codes
    layer = layer_with(weight, registry)
    assert torch.equal(layer.weight, torch.round(weight / (weight.max() / 127)).to(torch.int8))
    assert all(engine.weight.symmetric for engine in registry.engines.values())


def test_seed_04_each_channel_has_its_own_scale(registry: fxq.Registry) -> None:
    weight = torch.randn(2, 64) * torch.tensor([[1e-3], [10.0]])
    layer = layer_with(weight, registry)
    assert torch.equal(layer.weight_scale, (weight.abs().amax(1).double() / 127).float())
    noise = weight - layer.weight.float() * layer.weight_scale.reshape(-1, 1)
    sqnr = 10 * torch.log10(weight.square().sum(1) / noise.square().sum(1))
    # rounding costs at most half a step, a step is the peak over 127, and the peak here is below 4 sigma
    assert (sqnr > 20 * torch.log10(torch.tensor(127 / 4 * 12**0.5))).all()


@pytest.mark.parametrize(
    ("bad", "count"), [(float("nan"), "1 NaN and 0 Inf"), (float("inf"), "0 NaN and 1 Inf"), (-float("inf"), "0 NaN")]
)
def test_seed_06_and_07_a_batch_with_nan_or_inf_is_refused_whole(
    bad: float, count: str, registry: fxq.Registry
) -> None:
    model, good = nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(2, 4)
    poisoned = good.clone() * 100
    poisoned[0, 1] = bad
    q = fxq.Quantizer(model, good, engine="reference", registry=registry)
    with pytest.raises(fxq.CalibrationError, match=rf"^batch 0: node 'input_1' gave {count}"):
        q.observe(poisoned)
    with pytest.raises(fxq.CalibrationError, match="never calibrated"):
        q.quantize()
    q.observe(good)
    with pytest.raises(fxq.CalibrationError, match=r"^batch 1: node 'input_1' gave "):
        q.observe(poisoned)
    untouched = fxq.quantize(model, [good], engine="reference", registry=registry).state_dict()
    assert all(torch.equal(value, untouched[key]) for key, value in q.quantize().state_dict().items())


class Halves(nn.Module):
    """Two parts around a decision that no trace can take."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        if x.max() > 1e6:
            x = x * float("inf")
        return self.second(x)


def test_seed_06_a_refused_batch_leaves_no_part_of_the_model_changed(registry: fxq.Registry) -> None:
    model, good = Halves().eval(), torch.randn(2, 4)
    q = fxq.Quantizer(model, good, engine="reference", registry=registry).calibrate([good])
    before = q.quantize().state_dict()
    with pytest.raises(fxq.CalibrationError, match="module 'second'"):
        q.observe(good * 1e9)  # finite in the first part, not in the second
    assert all(torch.equal(value, before[key]) for key, value in q.quantize().state_dict().items())


@pytest.mark.filterwarnings("ignore:on the last calibration batch")
def test_seed_07_huge_floats_have_a_finite_scale(registry: fxq.Registry) -> None:
    x = torch.tensor([[1e38, -1e38, 0.0, 1.0]])
    layer = nn.Linear(4, 1, bias=False)
    nn.init.constant_(layer.weight, 1e-30)
    config = fxq.Config(rules=(fxq.Rule("linear", observer="minmax"),))
    qmodel, row = quantized(nn.Sequential(layer), x, registry=registry, config=config)
    assert 0 < row.input_1.scale < float("inf")
    assert qmodel(x).isfinite().all()


def test_seed_08_quantizing_without_calibration_is_an_error(registry: fxq.Registry) -> None:
    q = fxq.Quantizer(nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(2, 4), engine="reference", registry=registry)
    message = "the model was never calibrated; run calibrate(batches) or observe(batch) first"
    with pytest.raises(fxq.CalibrationError, match=f"^{re.escape(message)}$"):
        q.quantize()


def test_seed_09_empty_batches_are_neither_a_crash_nor_a_range(registry: fxq.Registry) -> None:
    model, x, empty = nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), torch.randn(2, 3, 6, 6), torch.empty(0, 3, 6, 6)
    q = fxq.Quantizer(model, x, engine="reference", registry=registry)
    assert q.observe(empty).shape == (0, 4, 4, 4)
    with pytest.raises(fxq.CalibrationError, match="no observed tensor held a value"):
        q.quantize()
    qmodel = q.calibrate([x, empty]).quantize()
    assert qmodel(empty).shape == (0, 4, 4, 4)
    alone = fxq.quantize(model, [x], engine="reference", registry=registry)
    assert torch.equal(qmodel(x), alone(x))


def test_seed_10_one_outlier_does_not_cost_the_rest_their_precision(registry: fxq.Registry) -> None:
    value = torch.randn(2_000_000)
    value[0] = 1e3
    errors = {}
    for name in ("minmax", "histogram", "percentile"):
        watching = registry.observers[name].build(registry.engines["reference"].activation)
        watching.observe(value)
        errors[name] = (value - on_grid(value, watching.qparams())).square()
    # the histogram weighs the outlier against the rest, the percentile gives it up
    assert errors["histogram"].mean() * 2 < errors["minmax"].mean()
    assert errors["percentile"][1:].mean() * 1000 < errors["minmax"][1:].mean()


def test_seed_10_tiny_ranges_keep_their_precision(registry: fxq.Registry) -> None:
    value = torch.linspace(-1e-9, 1e-9, 1001)  # the seed's smallest scale is a hundred times larger
    for name in registry.observers:
        watching = registry.observers[name].build(registry.engines["reference"].activation)
        watching.observe(value)
        qparams = watching.qparams()
        assert (value - on_grid(value, qparams)).abs().max() <= 2e-9 / 255, name


class Island(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.relu, self.pool, self.fc = nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2), nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.relu(self.norm(x))))


def test_seed_11_ops_between_float_ops_stay_float(registry: fxq.Registry) -> None:
    model, x = Island(), torch.randn(5, 4, 4)
    qmodel, row = quantized(model, x, registry=registry)
    assert [row.norm.quantized, row.relu.quantized, row.pool.quantized, row.fc.quantized] == [False, False, False, True]
    assert row.relu.reason == "int8 would only add conversions here"
    with torch.no_grad():
        exact = on_grid(model.pool(model.relu(model.norm(x))), row.pool)  # rounded once, before the only int8 op
    assert torch.equal(qmodel(x), on_grid(F.linear(exact, int8_weight(model.fc.weight), model.fc.bias), row.fc))
