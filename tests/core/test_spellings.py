"""Every spelling of every built-in pattern, between layers: the plan finds it, and the numbers agree."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fxq_core import families as tables, signatures, spellings

from support.quantizing import error, int8, quantized

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SWAP = ((), (1, 2))
# how each op is called: the arguments of its module, and of its function or method after the value
ARGUMENTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "clamp_min": ((), (-0.4,)), "clamp_max": ((), (0.4,)), "clamp": ((), (-0.4, 0.5)), "clip": ((), (-0.4, 0.5)),
    "hardtanh": ((-0.4, 0.5), (-0.4, 0.5)), "flatten": ((), (1,)), "reshape": ((), ((2, -1),)), "mean": ((), (1,)),
    "permute": ((), ((0, 2, 3, 1),)), "unsqueeze": ((), (1,)), "softmax": ((-1,), (-1,)), "amax": ((), (1,)),
    "amin": ((), (1,)), "layernorm": ((4,), ()), "groupnorm": ((2, 6), ()), "upsample": ((None, 2, "bilinear"), ()),
    "upsamplingbilinear2d": ((None, 2), ()), "getitem": ((), (slice(1, 3),)), "narrow": ((), (1, 1, 2)),
    "select": ((), (1, 2)), "index_select": ((), (1, torch.tensor([0, 2]))), "unflatten": ((1, (2, 3)), (1, (2, 3))),
    "broadcast_to": ((), ((2, 6, 4, 4),)), "expand": ((), (2, 6, 4, 4)), "tile": ((), ((1, 2, 1, 1),)),
    "repeat": ((), (1, 2, 1, 1)), "repeat_interleave": ((), (2, 1)), "roll": ((), (1, 2)), "flip": ((), ((2,),)),
    "pixelshuffle": ((1,), ()), "pixel_shuffle": ((), (1,)), "pixelunshuffle": ((2,), ()),
    "pixel_unshuffle": ((), (2,)), "channelshuffle": ((3,), ()), "channel_shuffle": ((), (3,)),
    "chunk": ((), (2, 1)), "split": ((), (3, 1)), "unbind": ((), (1,)), "split_with_sizes": ((), ([2, 4], 1)),
    "tensor_split": ((), (2, 1)), "pad": ((), ((1, 1),)), "interpolate": ((), (None, 2, "bilinear")),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims", "movedim", "moveaxis"), SWAP),
}  # fmt: skip
# the same for all spellings of a family
FAMILIES = {"max_pool": (2,), "avg_pool": (2,), "adaptive_avg_pool": (2,), "instance_norm": (6,), "batch_norm": (6,)}
BINARY = ("add", "sub", "mul", "matmul")
IN_PLACE = ["relu_", "clamp_", "clip_", "clamp_min_", "clamp_max_", "sigmoid_", "tanh_"]


class Between(nn.Module):
    """Two convolutions, an op on the first or on both, and a linear layer over the last dimension of its result."""

    def __init__(self, op: Callable[..., Any], dims: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.other, self.op = CONVS[dims](5, 6, 1), CONVS[dims](5, 6, 1), op
        self.binary = getattr(op, "binary", False)
        value = torch.rand(2, 6, *(4,) * dims)
        result = op(value, value) if self.binary else op(value)
        self.scalar = result.dim() == 0
        self.last = nn.Linear(1 if self.scalar else result.shape[-1], 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.op(self.first(x), self.other(x)) if self.binary else self.op(self.first(x))
        return self.last(x.reshape(1, 1) if self.scalar else x)


def name_of(spelling: Any) -> str:
    return spelling if isinstance(spelling, str) else spelling.__name__


def given(spelling: Any, family: str) -> tuple[Any, ...]:
    name = name_of(spelling).lower()
    known = next((args for prefix, args in FAMILIES.items() if family.startswith(prefix)), None)
    if known is not None:
        return known
    if family == "interpolate_nearest":
        return (None, 2)
    if family == "pad_copies":
        return ((1, 1, 1, 1), "reflect") if spelling is F.pad else (1,)
    if isinstance(spelling, type) and "Pad" in spelling.__name__:
        return (1, 0.0) if "Constant" in spelling.__name__ else (1,)
    module, function = ARGUMENTS.get(name) or ((), ())
    return module if isinstance(spelling, type) else function


def op_for(spelling: Any, family: str) -> Callable[..., Any]:
    """The op as a model would write it, over one tensor, or two if it is ``binary``."""
    args = given(spelling, family)
    if isinstance(spelling, type):
        return spelling(*args).eval()  # type: ignore[no-any-return]
    call = (lambda x, *more: getattr(x, spelling)(*more)) if isinstance(spelling, str) else spelling

    def op(x: torch.Tensor, *others: torch.Tensor) -> Any:
        if family in ("cat", "stack"):
            return spelling([x, *others], 1)
        if "dropout" in name_of(spelling):
            return spelling(x, training=False)
        if family == "matmul":
            x, y = (v.flatten(2) if "bmm" in name_of(spelling) else v for v in (x, *others))
            return call(x, y.transpose(-1, -2))
        if spelling == "expand_as":
            return x[:, :1].expand_as(x)
        if spelling == "t":
            return x.flatten(1).t()
        if name_of(spelling) in ("expand", "broadcast_to"):
            return call(x[:, :1], *args)
        result = call(x, *others, *args)
        return result[1] if family == "chunk" else result

    op.binary = family in (*BINARY, "cat", "stack")  # type: ignore[attr-defined]
    return op


def families() -> list[tuple[str, Any]]:
    """Each pattern but the layers', which capture gives one spelling, with each of its spellings."""
    layers = ("conv", "linear", "batch_norm")
    norms = (F.layer_norm, F.group_norm)  # capture makes modules of them
    every = {**tables.CLAMPED, **tables.OWN_RANGE, **tables.IN_FLOAT, **tables.SHARED}
    return [
        (family, spelling)
        for family, ops in every.items()
        if not family.startswith(layers)
        for spelling in sorted(ops, key=str)
        if spelling not in norms and not (family == "interpolate" and spelling is nn.UpsamplingNearest2d)
        and not (family == "interpolate_nearest" and spelling is nn.UpsamplingBilinear2d)
    ]  # fmt: skip


def dims_of(family: str, spelling: Any) -> int:
    name = name_of(spelling)
    text = name if family in ("identity", "pad", "pad_copies", "instance_norm") else family
    digits = [int(c) for c in text if c.isdigit()]
    return digits[0] if digits and digits[0] in CONVS else 2


def check(op: Callable[..., Any], pattern: str, dims: int) -> None:
    model = Between(op, dims).eval()
    x = torch.randn(2, 5, *(4,) * dims, generator=torch.Generator().manual_seed(1))
    lowered = quantized(model, x)
    assert pattern in int8(lowered)
    assert error(model, lowered, x) < 0.08


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
        else next(n for n, ops in {**tables.OWN_RANGE, **tables.IN_FLOAT}.items() if module in ops)
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
        assert signatures.clamp_bounds(None, op) == bounds  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        signatures.arguments(torch.fx.Graph().call_function(torch.sin, ()), None)
