"""Every spelling of every built-in pattern, behind a convolution: the plan finds it, and the numbers agree."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fxq_core import builtin, spellings

from support.quantizing import error, int8, quantized

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
# how each op is called: the arguments of its module, and of its function or method after the value
ARGUMENTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "clamp_min": ((), (-0.4,)), "clamp_max": ((), (0.4,)), "clamp": ((), (-0.4, 0.5)), "clip": ((), (-0.4, 0.5)),
    "hardtanh": ((-0.4, 0.5), (-0.4, 0.5)), "flatten": ((), (1,)), "reshape": ((), (2, -1)), "mean": ((), (1,)),
    "permute": ((), (0, 2, 3, 1)), "transpose": ((), (1, 2)), "swapaxes": ((), (1, 2)), "unsqueeze": ((), (1,)),
}  # fmt: skip
POOLS = {"max_pool": (2,), "avg_pool": (2,), "adaptive_avg_pool": (2,)}
IN_PLACE = ["relu_", "clamp_", "clip_", "clamp_min_", "clamp_max_", "sigmoid_", "tanh_"]


class Behind(nn.Module):
    def __init__(self, op: Callable[..., Any], dims: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.op = CONVS[dims](5, 6, 1), op

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.op(self.first(x))


def name_of(spelling: Any) -> str:
    return spelling if isinstance(spelling, str) else spelling.__name__


def given(spelling: Any, family: str) -> tuple[Any, ...]:
    name = name_of(spelling).lower()
    pool = next((args for prefix, args in POOLS.items() if family.startswith(prefix)), None)
    if pool is not None:
        return pool
    known = ARGUMENTS.get(name) or ((), ())
    return known[0] if isinstance(spelling, type) else known[1]


def op_for(spelling: Any, family: str) -> Callable[[torch.Tensor], Any]:
    """The op as a model would write it, over one tensor."""
    args = given(spelling, family)
    if isinstance(spelling, type):
        return spelling(*args)  # type: ignore[no-any-return]
    if family == "cat":
        return lambda x: spelling([x, x.relu()], 1)
    if "dropout" in name_of(spelling):
        return lambda x: spelling(x, training=False)
    if family in ("add", "mul"):
        if spelling in ("__radd__", "__rmul__"):
            return lambda x: getattr(x, spelling)(x.sigmoid())
        call = (lambda x, y: getattr(x, spelling)(y)) if isinstance(spelling, str) else spelling
        return lambda x: call(x, x.sigmoid())
    if isinstance(spelling, str):
        return lambda x: getattr(x, spelling)(*args)
    if spelling is torch.permute:
        return lambda x: torch.permute(x, args)
    if spelling is torch.reshape:
        return lambda x: torch.reshape(x, args)
    return lambda x: spelling(x, *args)


def families() -> list[tuple[str, Any]]:
    """Each pattern that stands behind a layer, with each of its spellings."""
    tables: dict[str, Any] = {**builtin.BINARY, **builtin.OWN_RANGE, **builtin.SHARED}
    tables |= {"clamp": spellings.CLAMP_LIKE, "mean": spellings.MEAN, "identity": spellings.IDENTITY}
    return [(family, spelling) for family, ops in tables.items() for spelling in sorted(ops, key=str)]


def dims_of(family: str, spelling: Any) -> int:
    digits = [int(c) for c in (family if family != "identity" else name_of(spelling)) if c.isdigit()]
    return digits[0] if digits and digits[0] in CONVS else 2


def check(op: Callable[..., Any], pattern: str, dims: int) -> None:
    model = Behind(op, dims).eval()
    x = torch.randn(2, 5, *(4,) * dims, generator=torch.Generator().manual_seed(1))
    lowered = quantized(model, x)
    assert pattern in int8(lowered)
    assert error(model, lowered, x) < 0.05


@pytest.mark.parametrize(("family", "spelling"), families(), ids=lambda value: name_of(value))
def test_a_spelling_is_its_pattern(family: str, spelling: Any) -> None:
    dims = dims_of(family, spelling)
    op = op_for(spelling, family)
    if family == "clamp":
        check(op, f"conv{dims}d_clamp", dims)
        pooled = op
        op = nn.Sequential(nn.AvgPool2d(2), op) if isinstance(op, nn.Module) else lambda x: pooled(F.avg_pool2d(x, 2))
    check(op, family, dims)


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_method_in_place_is_the_pattern_too(name: str) -> None:
    args = given(name[:-1], "")
    pattern = name[:-1] if name in ("sigmoid_", "tanh_") else "conv2d_clamp"
    check(lambda x: getattr(x, name)(*args), pattern, 2)


@pytest.mark.parametrize(
    "function", [F.relu, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.silu, F.leaky_relu, F.elu]
)
def test_a_function_in_place_is_the_pattern_too(function: Any) -> None:
    clamp = function in spellings.CLAMP_LIKE
    pattern = "conv2d_clamp" if clamp else function.__name__
    check(lambda x: function(x, inplace=True), pattern, 2)
    check(lambda x: function(input=x), pattern, 2)


@pytest.mark.parametrize(
    "module", [nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.LeakyReLU, nn.ELU]
)
def test_a_module_in_place_is_the_pattern_too(module: Any) -> None:
    pattern = (
        "conv2d_clamp"
        if module in spellings.CLAMP_LIKE
        else next(n for n, ops in builtin.OWN_RANGE.items() if module in ops)
    )
    check(module(inplace=True), pattern, 2)


@pytest.mark.parametrize(
    ("op", "pattern"),
    [
        (lambda x: torch.clamp(x, max=0.3, min=-0.2), "conv2d_clamp"),
        (lambda x: x.clamp(max=0.3), "conv2d_clamp"),
        (lambda x: torch.clamp(input=x, min=0), "conv2d_clamp"),
        (lambda x: F.hardtanh(x, max_val=0.3), "conv2d_clamp"),
        (lambda x: x.view(2, -1), "reshape"),
        (lambda x: x.view([2, 6, -1]), "reshape"),
        (lambda x: x.view(x.size(0), -1), "reshape"),
        (lambda x: x.flatten(start_dim=2), "flatten"),
        (lambda x: x.mean(dim=(2, 3), keepdim=True), "mean"),
        (lambda x: x.mean(), "mean"),
        (lambda x: x.mean([-1, -2]), "mean"),
        (lambda x: torch.cat(tensors=(x, x), dim=-1), "cat"),
        (lambda x: torch.add(x, other=x), "add"),
        (lambda x: x.__radd__(x), "add"),
        (lambda x: operator.iadd(x.relu(), x), "add"),
        (lambda x: operator.imul(x.relu(), x), "mul"),
        (lambda x: F.leaky_relu(x, negative_slope=0.3), "leaky_relu"),
        (lambda x: F.max_pool2d(x, kernel_size=3, stride=1, padding=1), "max_pool2d"),
        (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), "max_pool2d"),
        (lambda x: x.permute(dims=(0, 2, 3, 1)), "permute"),
        (lambda x: x.contiguous(memory_format=torch.channels_last), "contiguous"),
        (lambda x: torch.squeeze(x[:, :1], 1), "conv2d"),
    ],
)
def test_arguments_by_name(op: Any, pattern: str) -> None:
    check(op, pattern, 2)


def test_bounds_are_read_from_any_spelling() -> None:
    for op, bounds in (
        (nn.ReLU(), (0, float("inf"))), (nn.ReLU6(), (0, 6)), (nn.Hardtanh(), (-1, 1)), (nn.Hardtanh(-2, 3), (-2, 3)),
    ):  # fmt: skip
        assert spellings.clamp_bounds(None, op) == bounds  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        spellings.arguments(torch.fx.Graph().call_function(torch.sin, ()), None)
