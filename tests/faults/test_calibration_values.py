"""C1, C4, C5, C6: values that ruin a range."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.observers import MinMaxObserver

NAN, INF = float("nan"), float("inf")
OBSERVERS = ("minmax", "moving-average", "histogram", "entropy", "percentile")
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(32, 4, generator=GENERATOR)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)).eval()


def poisoned(*values: float) -> torch.Tensor:
    x = X.clone()
    x.view(-1)[: len(values)] = torch.tensor(values)
    return x


def quantizer(net: nn.Module, registry: fxq.Registry, **settings: Any) -> fxq.Quantizer:
    return fxq.Quantizer(net, X, "reference", fxq.Config(**settings), registry)


def test_C1_nan_and_inf_are_named_by_place_and_batch(registry: fxq.Registry) -> None:
    q = quantizer(model(), registry)
    with pytest.raises(fxq.CalibrationError) as caught:
        q.calibrate([X, X, poisoned(NAN, INF, -INF, NAN, NAN)])
    assert str(caught.value) == (
        "batch 2: node 'input_1' gave 3 NaN and 2 Inf among 128 values; mend the data or the model"
    )
    net = model()
    net[0].bias.data[1] = 3e38
    q = quantizer(net, registry)
    with pytest.raises(fxq.CalibrationError) as caught:
        q.observe(X * 3e38)
    text = str(caught.value)
    assert text.startswith("batch 0: node ")
    assert text.endswith("mend the data or the model")


@pytest.mark.parametrize("bad", [NAN, INF])
def test_C1_so_are_those_of_a_weight(bad: float, registry: fxq.Registry) -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.fc = nn.Embedding(5, 4), nn.Linear(4, 3)

        def forward(self, index: torch.Tensor) -> torch.Tensor:
            return self.fc(self.rows(index))

    net, index = Table().eval(), torch.arange(4)
    net.rows.weight.data[4, 1] = bad  # a row that no batch looks at
    q = fxq.Quantizer(net, index, "reference", registry=registry).calibrate([index])
    with pytest.raises(fxq.CalibrationError) as caught:
        q.quantize()
    counts = "1 NaN and 0 Inf" if bad != INF else "0 NaN and 1 Inf"
    assert str(caught.value) == (
        f"the weight of node 'rows' of module 'rows' holds {counts} among 20 values; mend the model"
    )


def test_C1_masked_they_are_left_out_and_counted(registry: fxq.Registry) -> None:
    q = quantizer(model(), registry, nonfinite="mask").calibrate([X, poisoned(NAN, INF, -INF)])
    found = fxq.report(q.quantize())
    assert dict(found.notes)["node 'input_1'"] == "1 NaN and 2 Inf were left out of its range"
    assert "node 'input_1': 1 NaN and 2 Inf were left out of its range" in str(found).splitlines()
    clean = fxq.report(quantizer(model(), registry).calibrate([X, X]).quantize())
    assert found.rows[0].scale == pytest.approx(clean.rows[0].scale, rel=0.05)
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.Config(nonfinite="ignore")
    assert str(caught.value) == "Config(nonfinite='ignore') is neither 'error' nor 'mask'; those are the choices"


def test_C1_the_option_is_read_from_toml() -> None:
    config = fxq.Config(nonfinite="mask", skip=("a",))
    assert config.to_toml().startswith('nonfinite = "mask"\n')
    assert fxq.Config.from_toml(config.to_toml()) == config
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.Config.from_toml("nonfinite = 1")
    assert str(caught.value) == 'the config\'s TOML: nonfinite is 1; write "error" or "mask"'


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-38, 1.0, 1e30, 3e38])
def test_C1_every_scale_is_finite_and_normal(size: float, name: str, registry: fxq.Registry) -> None:
    observer = registry.observers[name].build(registry.engines["reference"].activation)
    observer.observe(X.clamp(-1, 1) * size)
    scale, zero_point = observer.qparams()
    assert torch.finfo(torch.float32).tiny <= scale < INF
    assert 0 <= zero_point <= 255


@pytest.mark.parametrize("name", ["minmax", "histogram", "entropy", "percentile"])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -0.1, 3.3e10, -7e-7, 1e38])
def test_C4_a_constant_is_exact(value: float, name: str, engine: str, registry: fxq.Registry) -> None:
    class Offset(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.pad(x, (0, 1))[:, :-1].flip(0) if x.dim() else x

    observer = registry.observers[name].build(registry.engines[engine].activation)
    constant = torch.full((7,), value)
    for _ in range(3):
        observer.observe(constant)
    scale, zero_point = observer.qparams()
    codes = (torch.round(constant / scale) + zero_point).clamp(0, 255)
    assert torch.equal((codes - zero_point) * scale, constant)


def test_C4_so_is_an_activation_that_never_varies(engine: str, registry: fxq.Registry) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Flatten()).eval()
    nn.init.zeros_(net[0].weight)
    nn.init.constant_(net[0].bias, 0.3)
    qmodel = fxq.quantize(net, [X], engine, registry=registry)
    assert torch.equal(qmodel(X), net(X))


@pytest.mark.parametrize("bias", [0.0, 1e-6, 1.0, 1e6])
def test_C5_dead_channels_keep_their_bias(bias: float, engine: str, registry: fxq.Registry) -> None:
    """Their scale is large enough for the bias to fit the accumulator."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.Flatten()).eval()
    with torch.no_grad():
        net[0].weight[1:] = 0.0
        net[0].bias[:] = torch.tensor([0.0, bias, -bias])
    qmodel = fxq.quantize(net, [X], engine, registry=registry)
    layer = qmodel.get_submodule("0")
    scales = {row.node: row.scale for row in fxq.report(qmodel).rows}
    ratio = layer.bias.double().abs() / (scales["input_1"] * layer.weight_scale.double())
    assert (ratio < 2.0**31).all()
    step = scales["_0"]
    assert ((qmodel(X) - net(X)).abs() <= 0.51 * step + 0.02 * net[0].weight.abs().max()).all()


def test_C5_an_engine_never_sees_a_bias_out_of_int32(engine: str, registry: fxq.Registry) -> None:
    net = nn.Sequential(nn.Linear(4, 2)).eval()
    with torch.no_grad():
        net[0].weight[:] = 1e-12
        net[0].bias[:] = torch.tensor([5.0, -7.0])
    qmodel = fxq.quantize(net, [X * 1e-6], engine, registry=registry)
    assert (qmodel(X) - net(X)).abs().max() <= 0.51 * fxq.report(qmodel).rows[1].scale


@pytest.mark.parametrize("name", ["percentile", "histogram"])
def test_C6_outliers_are_told(name: str, registry: fxq.Registry) -> None:
    x = torch.randn(512, 64, generator=torch.Generator().manual_seed(3))
    x[0, 0] = 500.0
    config = fxq.Config(rules=(fxq.Rule("*", observer=name),))
    q = fxq.Quantizer(nn.Sequential(nn.Linear(64, 4)).eval(), x, "reference", config, registry).calibrate([x])
    notes = dict(fxq.report(q.quantize()).notes)
    text = notes["node 'input_1'"]
    assert text.startswith("outliers make its range ")
    assert text.endswith(
        " times wider than that of 99.99 % of its values; clamp it in the model, or observe it with 'percentile'"
    )
    calm = fxq.Quantizer(nn.Sequential(nn.Linear(64, 4)).eval(), x, "reference", config, registry)
    assert fxq.report(calm.calibrate([x.clamp(-4, 4)]).quantize()).notes == ()


def test_C6_values_up_to_the_largest_float_are_counted(registry: fxq.Registry) -> None:
    for name in OBSERVERS:
        observer = registry.observers[name].build(registry.engines["reference"].activation)
        observer.observe(torch.tensor([1e38, -3e38, 0.0, 1.0]))
        assert observer.qparams().scale < INF
    assert MinMaxObserver(registry.engines["reference"].activation).advice() == ""
