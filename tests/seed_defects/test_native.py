"""Entries 3, 5, 27, 35 and 48, where a native engine matters: packed weights, kernels and switching engines."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from seed_defects.oracle import module, on_grid, quantized

IMAGE = (2, 3, 8, 8)
UNPACK = {
    "QuantizedConv": lambda layer: torch.ops.quantized.conv2d_unpack(layer._packed[0]),
    "QuantizedLinear": lambda layer: torch.ops.quantized.linear_unpack(layer._packed[0]),
}


def packed(layer: Any) -> torch.Tensor:
    """The quantized weight that the kernel of a lowered layer computes with."""
    weight: torch.Tensor = UNPACK[type(layer).__name__](layer)[0]
    return weight


def close(result: Any, expected: Any) -> bool:
    """Whether int8 could have computed this: a wrong value or a lost write is off by far more."""
    return all((r - e).norm() < 0.05 * e.norm() + 1e-6 for r, e in zip(result, expected, strict=True))


def test_seed_03_packed_weights_have_zero_point_0(engine: str, registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)  # an affine range would put 0 at an end of the codes
    qmodel, _ = quantized(model, torch.randn(IMAGE), registry=registry, engine=engine)
    for path in ("0", "2"):
        weight = packed(qmodel.get_submodule(path))
        assert weight.q_per_channel_zero_points().tolist() == [0] * weight.shape[0]
        peaks = weight.int_repr().flatten(1).amax(1)
        assert set(peaks.tolist()) <= {64, 127}  # 64 where the CPU makes 7 bits necessary


def saturating(codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``vpmaddubsw``: the products of neighbours are added in int16, which saturates, and then in int32."""
    products = codes.int() * weight.int()
    return (products[..., 0::2] + products[..., 1::2]).clamp(-(2**15), 2**15 - 1).sum(-1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_seed_05_without_vnni_no_pair_of_products_saturates(
    sign: float, engine: str, registry: fxq.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    layer = nn.Linear(2, 2, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[sign, sign], [sign, 0.0]]))
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])  # the second is all codes 255
    qmodel, row = quantized(nn.Sequential(layer), x, registry=registry, engine=engine)
    weight = packed(qmodel.get_submodule("0"))
    codes = weight.int_repr()
    full = torch.tensor([255, 255])
    assert (row.input_1.scale, row.input_1.zero_point) == (pytest.approx(1 / 255), 0)
    # QNNPACK multiplies in wider integers, so it gives up nothing; a lone large weight costs nothing anywhere
    assert codes.tolist() == [[(127 if engine == "qnnpack" else 64) * sign] * 2, [127 * sign, 0]]
    if engine != "qnnpack":
        exact = (full.int() * codes.int()).sum(-1)
        assert torch.equal(saturating(full, codes), exact)
    assert torch.allclose(weight.dequantize(), layer.weight, rtol=0.01, atol=0)
    assert ((qmodel(x) - layer(x)).abs() <= row._0.scale + 0.02).all()


def test_seed_05_the_largest_products_are_exact_on_this_machine(engine: str, registry: fxq.Registry) -> None:
    layer = nn.Linear(64, 4, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.cat([torch.zeros(1, 64), torch.ones(1, 64)])
    qmodel, row = quantized(nn.Sequential(layer), x, registry=registry, engine=engine)
    assert torch.equal(qmodel(x), on_grid(layer(x), row._0))


WRITES: dict[str, Callable[[torch.Tensor], Any]] = {
    "zero_": lambda y: y.zero_(),
    "fill_": lambda y: y.fill_(2.0),
    "copy_": lambda y: y.copy_(torch.sin(y) * 5),
    "out": lambda y: torch.mul(y, 5.0, out=y),
    "**=": lambda y: y.__ipow__(2),
    "view": lambda y: y.view(y.size(0), -1).relu_(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_seed_27_later_readers_see_every_write(write: Callable[..., Any], engine: str, registry: fxq.Registry) -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        y = self.b(self.a(x))  # the first result is channels_last, where a view may have to copy
        before = F.sigmoid(y)
        write(y)
        return before, self.c(y)

    layers = {name: nn.Conv2d(3, 3, 1) for name in "abc"}
    model, x = module(forward, **layers), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry, engine=engine)
    with torch.no_grad():
        assert close(qmodel(x), model(x))


class Scaling(nn.Module):
    """Writes into its argument where no trace can see it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.mean() < 1e9:
            x.mul_(4.0)
        return x.mean()


def test_seed_27_a_block_that_stays_may_write(engine: str, registry: fxq.Registry) -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        y = self.conv(x)
        return self.block(y), self.conv(y)

    model, x = module(forward, conv=nn.Conv2d(3, 3, 1), block=Scaling()), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry, engine=engine)
    with torch.no_grad():
        assert close(qmodel(x), model(x))


OPERANDS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cat of numpy's axis": lambda y: torch.cat([y, F.relu(y)], axis=1),
    "cat with integers": lambda y: torch.cat([y, torch.ones_like(y, dtype=torch.long)], 1),
    "cat along a computed dim": lambda y: torch.cat([y, F.relu(y)], y.dim() - 3),
    "strides": lambda y: torch.as_strided(y, (2, 8), (256, 1)),
}


@pytest.mark.parametrize("op", OPERANDS.values(), ids=OPERANDS)
def test_seed_41_ops_get_every_argument(op: Callable[..., Any], engine: str, registry: fxq.Registry) -> None:
    model, x = module(lambda self, x: op(self.conv(x)), conv=nn.Conv2d(3, 4, 1)), torch.randn(IMAGE)
    with torch.no_grad():
        expected = model(x)
    qmodel, _ = quantized(model, x, registry=registry, engine=engine)
    result = qmodel(x)
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert (result - expected).norm() < 0.05 * expected.norm()


def test_seed_36_a_parameter_may_be_both_int8_and_float(engine: str, registry: fxq.Registry) -> None:
    forward = lambda self, x: (self.conv(x) + self.offset) * torch.sin(self.offset)  # noqa: E731
    model, x = module(forward, conv=nn.Conv2d(3, 4, 3), offset=nn.Parameter(torch.randn(4, 1, 1))), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry, engine=engine)
    with torch.no_grad():
        assert close([qmodel(x)], [model(x)])


def test_seed_35_a_state_dict_carries_the_whole_calibration(engine: str, registry: fxq.Registry) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 2, 3), nn.Sigmoid()), torch.randn(IMAGE)
    ours, _ = quantized(model, x, registry=registry, engine=engine)
    theirs, _ = quantized(copy.deepcopy(model), 50 * x + 3, registry=registry, engine=engine)
    assert not torch.equal(ours(x), theirs(x))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("other", ["fbgemm", "qnnpack"])
def test_seed_48_a_model_runs_on_its_engine_whatever_torch_names(
    other: str, engine: str, registry: fxq.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    if other not in torch.backends.quantized.supported_engines:
        other = "none"
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardswish(), nn.AvgPool2d(2), nn.Conv2d(4, 2, 1))
    x = torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry, engine=engine)
    expected = qmodel(x)
    monkeypatch.setattr(torch.backends.quantized, "engine", other)
    results = [qmodel(x), copy.deepcopy(qmodel)(x)]
    thread = threading.Thread(target=lambda: results.append(qmodel(x)))
    thread.start()
    thread.join()
    assert torch.backends.quantized.engine == other
    assert all(torch.equal(result, expected) for result in results)
    again, _ = quantized(model, x, registry=registry, engine=engine)
    assert torch.equal(again(x), expected)
