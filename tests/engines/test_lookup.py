"""Elementwise ops without kernels: the float op between two conversions, bit for bit, whatever the size or layout."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.native.lookup import WORTH, Lookup

SHAPES = {"small": (2, 3, 4, 5), "large": (1, 8, 64, 128), "of odd size": (1, 7, 101, 103), "flat": (WORTH,)}


def image(*shape: int) -> torch.Tensor:
    codes = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return torch._make_per_tensor_quantized_tensor(codes, 0.05, 117)


def in_float(op: Callable[..., torch.Tensor], x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return torch.quantize_per_tensor(op(x.dequantize()), scale, zero_point, torch.quint8)


def same(result: torch.Tensor, expected: torch.Tensor) -> bool:
    qparams = [(t.q_scale(), t.q_zero_point(), t.shape) for t in (result, expected)]
    return qparams[0] == qparams[1] and torch.equal(result.int_repr(), expected.int_repr())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", [F.silu, F.gelu, nn.Mish(), nn.ELU(0.5)])
def test_it_is_the_float_op(op: Callable[..., torch.Tensor], shape: str) -> None:
    x = image(*SHAPES[shape])
    assert same(Lookup("op", op)(x, 0.03, 20), in_float(op, x, 0.03, 20))


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x[:, :, 1:],
        lambda x: x.transpose(2, 3),
        lambda x: x.flatten()[1:].reshape(-1),
        lambda x: x.flatten()[8:],
    ],
)
def test_layouts(view: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = view(image(2, 8, 64, 128))
    result = Lookup("op", F.silu)(x, 0.03, 20)
    assert same(result, in_float(F.silu, x, 0.03, 20))
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        assert result.stride() == x.stride()


def test_arguments_reach_the_op() -> None:
    x = image(1, 8, 64, 128)
    lookup = Lookup("op", F.elu, (0.5,), {"inplace": True})
    assert same(lookup(x, 0.03, 20), in_float(nn.ELU(0.5), x, 0.03, 20))


def test_a_table_is_made_for_the_qparams_of_the_call() -> None:
    lookup, x = Lookup("op", F.silu), image(1, 8, 64, 128)
    other = torch._make_per_tensor_quantized_tensor(x.int_repr(), 0.02, 30)
    for value, scale in ((x, 0.03), (x, 0.04), (other, 0.04), (x, 0.03)):
        assert same(lookup(value, scale, 20), in_float(F.silu, value, scale, 20))


def test_copies_and_pickles_carry_no_table() -> None:
    lookup, x = Lookup("op", F.silu), image(1, 8, 64, 128)
    expected, empty = lookup(x, 0.03, 20), len(pickle.dumps(Lookup("op", F.silu)))
    assert len(pickle.dumps(lookup)) == empty
    assert not lookup.state_dict()
    for copied in (copy.deepcopy(lookup), pickle.loads(pickle.dumps(lookup))):
        assert same(copied(x, 0.03, 20), expected)


class Net(nn.Module):
    """One layer called twice, and functions with arguments in either way."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(5))
        self.act = nn.Mish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b, c, d, e = self.layers
        x = b(self.act(a(x)))
        x = c(F.gelu(input=x, approximate="tanh"))
        return e(self.act(d(F.elu(x, 0.5))))


def test_every_call_has_its_own_table_and_survives_pickling(engine: str, registry: fxq.Registry) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 128, 128)
    lowered: Any = fxq.quantize(Net().eval(), [x], engine, registry=registry)
    lookups = [module for module in lowered.modules() if isinstance(module, Lookup)]
    assert sorted(lookup.extra_repr() for lookup in lookups) == ["act", "act_1", "elu", "gelu"]
    expected = lowered(x)
    assert torch.equal(pickle.loads(pickle.dumps(lowered))(x), expected)
    assert torch.equal(copy.deepcopy(lowered)(x), expected)
