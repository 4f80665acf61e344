"""Entries 38 to 42: numbers, integer tensors, other dtypes and attributes in a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from seed_defects.oracle import int8_weight, module, on_grid, quantized

IMAGE = (2, 3, 8, 8)


def behind(op: Callable[[torch.Tensor], Any], registry: fxq.Registry, x: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """What the quantized model gives whose convolution is followed by ``op``, and what its convolution gives."""
    model = module(lambda self, x: op(self.conv(x)), conv=nn.Conv2d(3, 4, 3))
    qmodel, row = quantized(model, x, registry=registry)
    conv = F.conv2d(on_grid(x, row.x), int8_weight(model.conv.weight), model.conv.bias)
    return qmodel(x), on_grid(conv, row.conv)


SCALARS = {
    "x + 3.0": lambda x: x + 3.0,
    "3.0 + x": lambda x: 3.0 + x,
    "x * 2": lambda x: x * 2,
    "torch.add": lambda x: torch.add(x, 1.5),
    "x.mul": lambda x: x.mul(0.3),
    "x += 1": lambda x: x.__iadd__(1.0),
    "relu of sum": lambda x: F.relu(x + 1),
}


@pytest.mark.parametrize("op", SCALARS.values(), ids=SCALARS)
def test_seed_38_numbers_as_operands(op: Callable[..., Any], registry: fxq.Registry) -> None:
    """They are int8 constants of one value, so a sum or a product with one is an op like any other."""
    model, x = module(lambda self, x: op(self.conv(x)), conv=nn.Conv2d(3, 4, 3)), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    conv = on_grid(F.conv2d(on_grid(x, row.x), int8_weight(model.conv.weight), model.conv.bias), row.conv)
    last = next(row for row in reversed(fxq.report(qmodel).rows) if row.quantized)
    assert last.pattern in ("add", "mul", "add_clamp")
    assert (qmodel(x) - on_grid(op(conv), last)).abs().max() <= 1.001 * last.scale


SIZES = {
    "size": lambda x: x + x.size(0),
    "shape": lambda x: x * x.shape[1],
    "dim": lambda x: x + x.dim() * 2,
    "numel": lambda x: x / x.numel(),
}


@pytest.mark.parametrize("op", SIZES.values(), ids=SIZES)
def test_seed_39_sizes_as_operands(op: Callable[..., Any], registry: fxq.Registry) -> None:
    result, conv = behind(op, registry, torch.randn(IMAGE))
    assert torch.equal(result, op(conv))


def test_seed_39_a_size_follows_the_batch(registry: fxq.Registry) -> None:
    model = module(lambda self, x: self.fc(x) + x.size(0), fc=nn.Linear(4, 3))
    qmodel, row = quantized(model, torch.randn(2, 4), registry=registry)
    x = torch.randn(5, 4)
    fc = on_grid(F.linear(on_grid(x, row.x), int8_weight(model.fc.weight), model.fc.bias), row.fc)
    assert torch.equal(qmodel(x), fc + 5)


INTEGERS = {
    "add": lambda i: i + i,
    "mul": lambda i: torch.mul(i, i),
    "relu": lambda i: F.relu(i),
    "pool": lambda i: F.max_pool2d(i, 2),
    "cat": lambda i: torch.cat([i, i], 1),
    "clamp": lambda i: i.clamp(-1, 1).flatten(1),
}


@pytest.mark.parametrize("op", INTEGERS.values(), ids=INTEGERS)
def test_seed_40_integer_tensors_stay_integers(op: Callable[..., Any], registry: fxq.Registry) -> None:
    model = module(lambda self, x, i: (self.conv(x), op(i)), conv=nn.Conv2d(3, 4, 3))
    batch = torch.randn(IMAGE), torch.randint(-5, 5, (2, 3, 4, 4))
    qmodel, row = quantized(model, batch, registry=registry)
    result = qmodel(*batch)[1]
    assert row.conv.quantized
    assert result.dtype is torch.int64
    assert torch.equal(result, op(batch[1]))


MIXED = {
    "add": lambda x, i: x + i,
    "mul": lambda x, i: i * x,
    "cat": lambda x, i: torch.cat([x, i], 1),
    "double": lambda x, i: x + i.double(),
    "bool": lambda x, i: x * (i > 0),
}


@pytest.mark.parametrize("op", MIXED.values(), ids=MIXED)
def test_seed_41_mixed_operands_are_promoted_as_in_float(op: Callable[..., Any], registry: fxq.Registry) -> None:
    model = module(lambda self, x, i: op(self.conv(x), i), conv=nn.Conv2d(3, 4, 3))
    x, i = torch.randn(IMAGE), torch.randint(-5, 5, (2, 4, 6, 6))
    qmodel, row = quantized(model, (x, i), registry=registry)
    conv = F.conv2d(on_grid(x, row.x), int8_weight(model.conv.weight), model.conv.bias)
    result, expected = qmodel(x, i), op(on_grid(conv, row.conv), i)
    if "cat" in vars(row) and row.cat.quantized:
        expected = on_grid(expected, row.cat)
    assert result.dtype is expected.dtype
    assert torch.equal(result, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_seed_41_models_of_another_dtype_are_refused(dtype: torch.dtype, registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Linear(4, 3)).to(dtype).eval()
    message = rf"^'weight' of module '0' \(Linear\) is {dtype}; call model\.float\(\) before quantizing$"
    with pytest.raises(fxq.CaptureError, match=message):
        fxq.Quantizer(model, torch.randn(2, 4, dtype=dtype), engine="reference", registry=registry)


def test_seed_41_inputs_on_another_device_are_refused(registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Linear(4, 3)).eval()
    with pytest.raises(fxq.CaptureError, match=r"^argument 0 is on device meta; move it with \.cpu\(\)$"):
        fxq.Quantizer(model, torch.randn(2, 4, device="meta"), engine="reference", registry=registry)


def test_seed_42_attributes_that_are_no_tensors(registry: fxq.Registry) -> None:
    graph = fx.Graph()
    x = graph.call_module("conv", (graph.placeholder("x"),))
    graph.output(graph.call_function(torch.mul, (x, graph.get_attr("factor"))))
    model = fx.GraphModule({"conv": nn.Conv2d(3, 4, 3), "factor": 3.0}, graph).eval()
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    conv = F.conv2d(on_grid(x, row.x), int8_weight(model.conv.weight), model.conv.bias)
    assert (qmodel(x) - on_grid(on_grid(conv, row.conv) * 3.0, row.mul)).abs().max() <= 1.001 * row.mul.scale


def test_seed_42_reassigned_parameters_count_until_capture_and_not_in_halves(registry: fxq.Registry) -> None:
    model = module(lambda self, x: self.fc(x) * self.factor, fc=nn.Linear(4, 3), factor=nn.Parameter(torch.tensor(2.0)))
    x = torch.randn(5, 4)
    model.factor = nn.Parameter(torch.tensor(30.0))
    expected = model(x)
    q = fxq.Quantizer(model, x, engine="reference", registry=registry)
    model.factor = nn.Parameter(torch.tensor(-1.0))
    model.fc.weight = nn.Parameter(torch.zeros(3, 4))
    assert torch.equal(q.observe(x), expected)
    row = {row.node: row for row in fxq.report(q.quantize()).rows}
    assert row["factor"].scale == 30 / 128
    assert (q.quantize()(x) - expected).norm() < 0.05 * expected.norm()
