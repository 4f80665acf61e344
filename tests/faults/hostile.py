"""Hostile modules, tensors and states for the fuzzer, and what may come of each: all drawn from one random seed."""

from __future__ import annotations

import contextlib
import copy
import random
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.native.layers import QuantizedConv, QuantizedLinear
from fxq_core.native.transposed import QuantizedConvTranspose

SHAPES = {0: (3, 4), 1: (2, 4, 9), 2: (2, 4, 7, 6), 3: (1, 4, 5, 4, 6)}
CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Finding(Exception):
    """Something that must not happen."""


def hostile_tensor(r: random.Random, shape: tuple[int, ...]) -> Any:
    """A tensor like one of this shape, mostly with something wrong."""
    shape = tuple(r.choice((0, 1, 2, 3, 33)) if r.random() < 0.15 else size for size in shape)
    if r.random() < 0.1:
        shape = r.choice((shape[1:], (1, *shape), shape[:-1], ()))
    dtypes = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64)
    x = torch.randn(shape) * r.choice((1.0, 1.0, 1e-30, 1e30, 0.0))
    kind = r.randrange(9)
    if kind == 0 and x.numel():
        x.view(-1)[r.randrange(x.numel())] = r.choice((float("nan"), float("inf"), -float("inf")))
    elif kind == 1:
        x = x.to(r.choice(dtypes))
    elif kind == 2:
        x = x.transpose(-1, r.randrange(x.dim())).contiguous().transpose(-1, r.randrange(x.dim())) if x.dim() else x
    elif kind == 3 and x.dim():
        x = x[:1].expand(shape) if shape[0] else x
    elif kind == 4 and x.dim():
        x = torch.as_strided(x, shape, (0,) * x.dim()) if x.numel() else x
    elif kind == 5 and x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
    elif kind == 6 and x.dim():
        x = torch.cat((x, x), -1)[..., ::2]
    elif kind == 7 and r.random() < 0.3:
        return r.choice((None, "text", 3.0, [x], {"x": x}, x.to_sparse() if x.dim() else x, x.to("meta")))
    return x


def layer_of(r: random.Random, dims: int) -> nn.Module:
    few = (1, 1, 2, 3)
    if dims == 0:
        return nn.Linear(4, r.choice((1, 4, 8)), bias=r.random() < 0.7)
    groups = r.choice((1, 1, 2, 4))
    numbers = {"stride": r.choice(few), "dilation": r.choice(few), "groups": groups, "bias": r.random() < 0.7}
    padding: Any = r.choice((0, 1, 2, 5)) if r.random() < 0.8 else "valid"
    if r.random() < 0.3:
        padding = 0 if padding == "valid" else padding
        return TRANSPOSED[dims](4, 4 * r.choice((1, 2)), r.choice(few), padding=padding, **numbers)
    return CONVS[dims](4, 4 * r.choice((1, 2, 3)), r.choice(few), padding=padding, **numbers)


def spoiled(r: random.Random, layer: Any) -> None:
    """Change a layer as no constructor would."""
    dims = layer.weight.dim() - 2
    numbers = {
        "stride": (0,) * dims,
        "padding": r.choice(((-1,) * dims, (-1000,) * dims, (10**6,) * dims, (1,) * (dims + 1))),
        "dilation": r.choice(((0,) * dims, (-1,) * dims, (10**9,) * dims)),
        "groups": r.choice((0, 3, -1, 2**31, 2**40)),
        "in_channels": 7,
    }
    with torch.no_grad():
        kind = r.randrange(7)
        if kind == 0 and dims:
            name = r.choice(tuple(numbers))
            setattr(layer, name, numbers[name])
        elif kind == 1:
            layer.weight.view(-1)[0] = r.choice((float("nan"), float("inf"), 3e38))
        elif kind == 2:
            layer.weight = nn.Parameter(layer.weight[r.choice((slice(0), slice(1)))])
        elif kind == 3:
            layer.weight = nn.Parameter(layer.weight[:, :0])
        elif kind == 4:
            layer.bias = nn.Parameter(torch.full((r.choice((0, 1, len(layer.weight))),), r.choice((1.0, 1e38))))
        elif kind == 5:
            layer.weight = nn.Parameter(layer.weight[:1].expand(layer.weight.shape))
        else:
            layer.weight = nn.Parameter(layer.weight * r.choice((0.0, 1e-38, 1e30)))


AFTER: tuple[Callable[[], nn.Module], ...] = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.LeakyReLU, nn.Flatten,
    lambda: nn.MaxPool2d(2), lambda: nn.AvgPool2d(3, 2, 1), lambda: nn.AdaptiveAvgPool2d(1), lambda: nn.PixelShuffle(2),
    lambda: nn.ReflectionPad2d(3), lambda: nn.ZeroPad2d(-1), lambda: nn.Upsample(scale_factor=2), lambda: nn.Softmax(1),
    lambda: nn.GroupNorm(2, 4), lambda: nn.InstanceNorm2d(4), lambda: nn.BatchNorm2d(4), lambda: nn.Dropout(),
)  # fmt: skip


class Chain(nn.Module):
    def __init__(self, r: random.Random, dims: int) -> None:
        super().__init__()
        self.first, self.after, self.join = layer_of(r, dims), r.choice(AFTER)(), r.choice(("", "add", "mul", "cat"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if self.join == "cat":
            y = torch.cat([y, y], 1)
        elif self.join:
            y = y + y.flip(0) if self.join == "add" else y * y
        return self.after(y)


def outcome(action: Callable[[], Any]) -> Any:
    """A result, or the exception in its place; warnings are nobody's."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return action()
        except Exception as error:
            return error


def judged(what: str, wanted: Any, got: Any) -> None:
    """Refusals are fxq's own, or those that the float model has too; shapes are the float model's."""
    if isinstance(got, Exception):
        if not isinstance(got, fxq.FxqError) and not isinstance(wanted, Exception):
            raise Finding(f"{what} gave {type(got).__name__}: {got}") from got
    elif isinstance(wanted, torch.Tensor) and isinstance(got, torch.Tensor) and wanted.shape != got.shape:
        raise Finding(f"{what} gave shape {tuple(got.shape)} in place of {tuple(wanted.shape)}")


def quantizing(r: random.Random, engine: str, registry: fxq.Registry) -> None:
    """Hostile modules and batches at quantize(), and the result with the batch."""
    dims = r.choice((0, 1, 2, 2, 2, 3))
    model = outcome(lambda: Chain(r, dims).eval())
    if isinstance(model, Exception):
        return
    if r.random() < 0.6:
        outcome(lambda: spoiled(r, model.first))
    good = torch.randn(SHAPES[dims])
    batches = [good if r.random() < 0.5 else hostile_tensor(r, SHAPES[dims]) for _ in range(r.choice((1, 2)))]
    floats = [outcome(lambda x=x: copy.deepcopy(model)(x)) for x in batches]
    config = fxq.Config(nonfinite=r.choice(("error", "mask")))
    qmodel = outcome(lambda: fxq.quantize(model, batches, engine, config, registry))
    if isinstance(qmodel, Exception):
        if not isinstance(qmodel, fxq.FxqError):
            raise Finding(f"quantize gave {type(qmodel).__name__}: {qmodel}") from qmodel
        return
    for x, wanted in zip(batches, floats, strict=True):
        judged("the result", wanted, outcome(lambda x=x: qmodel(x)))


def calling(r: random.Random, engine: str, registry: fxq.Registry) -> None:
    """Hostile tensors at a sound lowered model."""
    dims = r.choice((0, 1, 2, 2, 2, 3))
    model = outcome(lambda: Chain(r, dims).eval())
    good = torch.randn(SHAPES[dims])
    if isinstance(model, Exception) or isinstance(outcome(lambda: model(good)), Exception):
        return
    qmodel = outcome(lambda: fxq.quantize(model, [good], engine, registry=registry))
    if isinstance(qmodel, Exception):
        judged("quantize", good, qmodel)
        return
    for _ in range(6):
        x = hostile_tensor(r, SHAPES[dims])
        judged(f"an input {_told(x)}", outcome(lambda x=x: model(x)), outcome(lambda x=x: qmodel(x)))
    if r.random() < 0.3:
        loading(r, qmodel, good)


def loading(r: random.Random, qmodel: nn.Module, good: torch.Tensor) -> None:
    """Hostile states at a lowered model: refused, or computed with."""
    state = copy.deepcopy(qmodel.state_dict())
    name = r.choice(sorted(state))
    tensor = state[name]
    bad = r.choice((float("nan"), float("inf"), -1.0, 0.0, 1e38, 1e-45))
    changes = (
        lambda t: t.fill_(bad if t.is_floating_point() else r.choice((-128, 127, 0))),
        lambda t: t.double(),
        lambda t: t[:0] if t.dim() else t,
        lambda t: t.flatten(),
        lambda t: t.fill_(2**31 - 1) if t.dtype is torch.int32 else t,
        lambda t: t.flip(0) if t.dim() else t,
    )
    state[name] = r.choice(changes)(tensor)
    error = outcome(lambda: qmodel.load_state_dict(state))
    if isinstance(error, Exception) and not isinstance(error, (fxq.FxqError, RuntimeError)):
        raise Finding(f"a state with {name} {_told(state[name])} gave {type(error).__name__}: {error}") from error
    result = outcome(lambda: qmodel(good))
    if isinstance(result, Exception) and not isinstance(error, Exception) and not isinstance(result, fxq.FxqError):
        raise Finding(f"after {name} {_told(state[name])} it gave {type(result).__name__}: {result}") from result


def layers(r: random.Random, engine: str, registry: fxq.Registry) -> None:
    """Hostile arguments at the layers themselves, which plugins build: refused by fxq, or computed with."""
    dims = r.choice((0, 1, 2, 2, 3))
    one = lambda: r.choice((-1, 0, 1, 1, 1, 2, 3, 1000))  # noqa: E731
    several = lambda: (one(),) * r.choice((dims, dims, dims, dims + 1))  # noqa: E731
    shape = (r.choice((0, 4, 8)), r.choice((0, 1, 4)), *[r.choice((0, 1, 2, 3))] * dims)
    weight = torch.randint(-128, 128, shape, dtype=torch.int8)
    scale = torch.rand(r.choice((shape[0], 1, 3)) if r.random() < 0.9 else ()) + r.choice((0.1, 0.1, 0.1, float("nan")))
    bias = torch.randn(r.choice((shape[0], shape[0], 1, 0))) if r.random() < 0.7 else None
    if dims == 0:
        made = outcome(lambda: QuantizedLinear(weight, scale, bias, engine))
    elif r.random() < 0.7:
        made = outcome(lambda: QuantizedConv(weight, scale, bias, several(), several(), several(), one(), engine))
    else:
        numbers = several(), several(), several(), several(), one()
        made = outcome(lambda: QuantizedConvTranspose(weight, scale, bias, *numbers, engine))
    if isinstance(made, Exception):
        if not isinstance(made, fxq.FxqError):
            raise Finding(f"a layer gave {type(made).__name__}: {made}") from made
        return
    for _ in range(4):
        x = hostile_tensor(r, SHAPES[dims])
        with contextlib.suppress(Exception):
            if r.random() < 0.8:
                x = torch.quantize_per_tensor(x, r.choice((0.1, 1e-30, 1e30)), 3, r.choice((torch.quint8, torch.qint8)))
            else:
                x = torch.quantize_per_channel(x, torch.ones(4), torch.zeros(4).long(), 1, torch.quint8)
        with registry.engines[engine].active():
            outcome(lambda x=x: made(x, r.choice((0.1, float("nan"), 0.0, -1.0, 1e38)), r.choice((0, 255, 256, -1))))


def _told(x: Any) -> str:
    return (
        f"{x.dtype} {tuple(x.shape)} {x.stride()}" if type(x) is torch.Tensor and not x.is_sparse else type(x).__name__
    )


CASES = (quantizing, quantizing, calling, calling, layers)
