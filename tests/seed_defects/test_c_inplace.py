"""Entry 27: who sees what an in-place op writes, in int8 as in float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from seed_defects.oracle import int8_weight, module, on_grid, quantized

IMAGE = (2, 3, 8, 8)


def conv(x: torch.Tensor, layer: Any, row: Any) -> torch.Tensor:
    """What a convolution gives on quantized inputs and weights, before it is rounded."""
    return F.conv2d(on_grid(x, row), int8_weight(layer.weight), layer.bias)


@pytest.mark.parametrize("relu", [nn.ReLU(inplace=True), torch.relu_, lambda x: F.relu(x, inplace=True)])
def test_seed_27_later_readers_see_the_write(relu: Callable[..., Any], registry: fxq.Registry) -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        y = self.conv(x)
        return relu(y), y * 1

    model, x = module(forward, conv=nn.Conv2d(3, 4, 3)), torch.randn(IMAGE)
    if isinstance(relu, nn.Module):
        model.relu = relu
    qmodel, _ = quantized(model, x, registry=registry)
    written, read = qmodel(x)
    assert (written >= 0).all()
    assert written.max() > 0
    assert torch.equal(written, read)


def test_seed_27_the_caller_sees_the_write_to_an_argument(registry: fxq.Registry) -> None:
    model = module(lambda self, x: (self.conv(x.relu_()), x * 1), conv=nn.Conv2d(3, 4, 3))
    x = torch.randn(IMAGE)
    positive = x.relu()
    qmodel, _ = quantized(model, x.clone(), registry=registry)
    assert torch.equal(qmodel(x)[1], positive)
    assert torch.equal(x, positive)


def test_seed_27_the_example_and_the_batches_are_not_written_to(registry: fxq.Registry) -> None:
    model, x = module(lambda self, x: self.conv(x.relu_()), conv=nn.Conv2d(3, 4, 3)), torch.randn(IMAGE)
    before = x.clone()
    quantized(model, x, registry=registry)
    assert torch.equal(x, before)


def add_between_reads(self: Any, x: torch.Tensor) -> Any:
    before = self.conv(x)
    x.add_(3.0)
    return before, self.conv(x)


def add_within_a_match(self: Any, x: torch.Tensor) -> Any:
    before = self.conv(x)
    x.add_(3.0)
    return F.relu(before), x


def add_through_a_view(self: Any, x: torch.Tensor) -> Any:
    y = torch.sin(x)
    before = self.conv(y)
    y.view(-1).add_(3.0)
    return before, self.conv(y)


@pytest.mark.parametrize("forward", [add_between_reads, add_within_a_match, add_through_a_view])
def test_seed_27_each_reader_sees_the_value_of_its_time(forward: Callable[..., Any], registry: fxq.Registry) -> None:
    model, x = module(forward, conv=nn.Conv2d(3, 3, 1)), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry)
    with torch.no_grad():
        results, expected = qmodel(x.clone()), model(x.clone())
    for result, wanted in zip(results, expected, strict=True):
        # a write that comes too early, or not at all, is off by 3 times the weights: about half of everything
        assert (result - wanted).norm() < 0.05 * wanted.norm()


def test_seed_27_a_buffer_that_the_model_writes_is_read_each_time(registry: fxq.Registry) -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        self.calls.add_(100.0)
        return self.conv(x) + self.calls

    model, x = module(forward, conv=nn.Conv2d(3, 4, 3), calls=torch.zeros(4, 1, 1)), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry)
    assert model.calls.abs().max() == 0
    first, second = qmodel(x), qmodel(x)
    assert ((second - first) - 100).abs().max() < 5


class Deciding(nn.Module):
    """A block that no trace gets through and whose ReLU writes into its argument, which is read again."""

    def __init__(self, relu: nn.Module) -> None:
        super().__init__()
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.numel() and x.mean() > 1e9:
            return x
        self.relu(x)
        return x


def test_seed_27_a_block_that_stays_keeps_its_in_place_layers(registry: fxq.Registry) -> None:
    layers, x = nn.Sequential(nn.Conv2d(3, 4, 3), Deciding(nn.ReLU(inplace=True))), torch.randn(IMAGE)
    qmodel, _ = quantized(layers, x, registry=registry)
    with torch.no_grad():
        result, expected = qmodel(x), layers(x)
    assert (result >= 0).all()
    assert (result - expected).norm() < 0.05 * expected.norm()


class Scaling(nn.Module):
    """Writes into its argument where no trace can see it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.mean() < 1e9:
            x.mul_(4.0)
        return x.mean()


def test_seed_27_a_block_that_stays_may_write_into_what_is_read_later(registry: fxq.Registry) -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        y = torch.sin(x)
        before = self.conv(y)
        return before, self.block(y), self.conv(y)

    model, x = module(forward, conv=nn.Conv2d(3, 4, 3), block=Scaling()), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry)
    with torch.no_grad():
        results, expected = qmodel(x), model(x)
    for result, wanted in zip(results, expected, strict=True):
        assert (result - wanted).norm() < 0.05 * wanted.norm()


@pytest.mark.parametrize(
    "write",
    [
        lambda y: y.zero_(), lambda y: y.fill_(2.0), lambda y: y.copy_(torch.sin(y) * 5), torch.zero_,
        lambda y: torch.mul(y, 5.0, out=y), lambda y: y.normal_(0.0, 0.0), lambda y: y.requires_grad_(False),
    ],
)  # fmt: skip
def test_seed_27_writes_without_an_out_of_place_form(write: Callable[..., Any], registry: fxq.Registry) -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        y = self.conv(x)
        before = F.relu(y)
        write(y)
        return before, self.conv(y)

    model, x = module(forward, conv=nn.Conv2d(3, 3, 1)), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry)
    with torch.no_grad():
        results, expected = qmodel(x), model(x)
    for result, wanted in zip(results, expected, strict=True):
        assert (result - wanted).norm() < 0.05 * wanted.norm()


def test_seed_27_an_in_place_op_keeps_the_type_of_what_it_writes_to(registry: fxq.Registry) -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        y = self.conv(x)
        y += torch.cos(x).double()
        return self.conv(y), y

    model, x = module(forward, conv=nn.Conv2d(3, 3, 1)), torch.randn(IMAGE)
    qmodel, _ = quantized(model, x, registry=registry)
    with torch.no_grad():
        results, expected = qmodel(x), model(x)
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype is wanted.dtype
        assert (result - wanted).norm() < 0.05 * wanted.norm()


def test_seed_27_an_in_place_add_shares_no_memory_with_what_it_adds(registry: fxq.Registry) -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        y = self.conv(x)
        y += x
        return y

    model, x = module(forward, conv=nn.Conv2d(3, 3, 1)), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    assert row.iadd.pattern == "add"
    inside = on_grid(conv(x, model.conv, row.x), row.conv)
    assert torch.equal(qmodel(x), on_grid(inside + on_grid(x, row.x), row.iadd))
