"""The ops over codes that are no kernel of their own: exactly what the float op does to the numbers."""

from __future__ import annotations

import itertools
import math
import unittest.mock
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

import fxq_core as fxq
from fxq_core.native import functions
from fxq_core.native.codes import from_codes
from fxq_core.native.norms import QuantizedNorm


def codes(*shape: int, scale: float = 0.05, zero_point: int = 117) -> torch.Tensor:
    values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return torch._make_per_tensor_quantized_tensor(values, scale, zero_point)


def same(result: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether quantized numbers, and their shape, are these floats."""
    return torch.equal(result.dequantize(), expected)


@st.composite
def pads(draw: Any) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """A mode, a shape and what ``F.pad`` takes for both."""
    dims = draw(st.integers(1, 3))
    mode = draw(st.sampled_from(functions.PAD_MODES))
    # torch replicates and reflects with a batch or without, and wraps around with one
    leading = draw(st.integers(2 if mode == "circular" else 1, 2))
    sizes = draw(st.tuples(*[st.integers(1, 5)] * dims))
    most = {"reflect": [n - 1 for n in sizes], "circular": sizes, "replicate": [7] * dims}[mode]
    sides = [draw(st.integers(0, limit)) for limit in reversed(most) for _ in range(2)]
    return mode, (*(2, 3)[:leading], *sizes), tuple(sides)


@settings(max_examples=200)
@given(pads())
def test_padding_with_copies(case: tuple[str, tuple[int, ...], tuple[int, ...]]) -> None:
    mode, shape, pad = case
    x = codes(*shape)
    assert same(functions.pad_copies(x, pad, mode), F.pad(x.dequantize(), pad, mode))


@pytest.mark.parametrize("mode", functions.PAD_MODES)
def test_padding_a_channels_last_image_or_an_empty_batch(mode: str) -> None:
    x = codes(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert same(functions.pad_copies(x, (1, 2, 3, 0), mode), F.pad(x.dequantize(), (1, 2, 3, 0), mode))
    assert functions.pad_copies(codes(0, 3, 4, 5), (1, 2, 3, 0), mode).shape == (0, 3, 7, 8)


@pytest.mark.parametrize("zero_point", [0, 1, 117, 254, 255])
def test_the_negative_is_exact(zero_point: int) -> None:
    x = codes(400, zero_point=zero_point)
    before = x.int_repr().clone()
    result = functions.negated(x)
    assert same(result, -x.dequantize())
    assert torch.equal(x.int_repr(), before)
    assert same(functions.negated(result), x.dequantize())


@given(st.lists(st.integers(0, 255)), st.floats(1e-6, 1e3), st.integers(0, 255))
def test_codes_stand_for_numbers(values: list[int], scale: float, zero_point: int) -> None:
    result = from_codes(torch.tensor(values, dtype=torch.uint8), scale, zero_point)
    assert (result.q_scale(), result.q_zero_point(), result.int_repr().tolist()) == (scale, zero_point, values)


@pytest.mark.parametrize("shape", [(2, 4, 6, 8), (0, 4, 6, 8), (2, 0, 6, 8), (4, 6, 8)])
def test_pixel_unshuffle(shape: tuple[int, ...]) -> None:
    x = codes(*shape)
    assert same(functions.pixel_unshuffle(x, 2), F.pixel_unshuffle(x.dequantize(), 2))


@pytest.mark.parametrize("last", [False, True])
@given(st.integers(-60, 60), st.integers(0, 120), st.integers(0, 255), st.sampled_from(["both", "low", "high"]))
def test_clamping_on_steps_is_exact(last: bool, low: int, width: int, zero_point: int, limits: str) -> None:
    x = codes(2, 3, 4, 5, scale=0.25, zero_point=zero_point)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    bounds = (-math.inf if limits == "high" else low / 4), (math.inf if limits == "low" else (low + width) / 4)
    lowest, highest = -zero_point * 0.25, (255 - zero_point) * 0.25
    expected = x.dequantize().clamp(*bounds).clamp(lowest, highest)
    result = functions.clamp(x, *bounds)
    assert same(result, expected)
    assert result.stride() == x.stride()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 24, 32])
@given(st.data())
@settings(max_examples=20)
def test_max_pool_gives_what_the_kernel_does(last: bool, channels: int, data: Any) -> None:
    # small images take the same way here as large ones
    with unittest.mock.patch.object(functions, "LARGE", 1):
        check_max_pool(last, channels, data)


def check_max_pool(last: bool, channels: int, data: Any) -> None:
    kernel = data.draw(st.tuples(st.integers(2, 5), st.integers(2, 5)))
    stride = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(data.draw(st.integers(0, side // 2)) for side in kernel)
    size = tuple(data.draw(st.integers(side, 9)) for side in kernel)
    x = codes(data.draw(st.integers(0, 2)), channels, *size)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    result = functions.max_pool2d(x, kernel, stride, padding)
    assert same(result, F.max_pool2d(x, kernel, stride, padding).dequantize())
    assert (result.q_scale(), result.q_zero_point()) == (0.05, 117)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_parts_of_images_are_joined_in_channels_last(engine: str, dim: int, registry: fxq.Registry) -> None:
    whole = codes(4, 6, 5, 4).contiguous(memory_format=torch.channels_last)
    parts = [whole[:, :3], whole[:, 3:]]
    with registry.engines[engine].active():
        result = functions.cat(parts, dim, 0.05, 117)
    assert same(result, torch.cat([part.dequantize() for part in parts], dim))
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("gate", [(2, 5, 1, 1), (1, 5, 1, 1), (2, 1, 12, 11), (1, 1, 1, 1)])
@pytest.mark.parametrize("size", [(12, 11), (3, 4), (0, 4)])
def test_a_gate_gives_what_the_kernel_does(
    engine: str, size: tuple[int, int], gate: tuple[int, ...], last: bool, registry: fxq.Registry
) -> None:
    image, gates = codes(2, 5, *size), codes(*gate[:2], *(size if gate[2] > 1 else (1, 1)), scale=1 / 256, zero_point=0)
    if last:
        image = image.contiguous(memory_format=torch.channels_last)
    with registry.engines[engine].active():
        result = functions.gated(image, gates, 0.03, 100)
        expected = torch.ops.quantized.mul(image, gates, 0.03, 100)
    assert torch.equal(result.int_repr(), expected.int_repr())
    assert (result.q_scale(), result.q_zero_point()) == (0.03, 100)
    assert result.is_contiguous(memory_format=torch.channels_last) or not result.numel()


def test_silu_is_computed_in_float() -> None:
    x = codes(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    result, before = functions.silu(x, 0.03, 20), x.clone()
    expected = torch.quantize_per_tensor(F.silu(x.dequantize()), 0.03, 20, torch.quint8)
    assert torch.equal(result.int_repr(), expected.int_repr())
    assert torch.equal(x.int_repr(), before.int_repr())
    assert result.stride() == x.stride()


@pytest.mark.parametrize("function", [functions.hardswish, functions.hardsigmoid])
def test_an_empty_tensor_reaches_no_kernel(engine: str, function: Any, registry: fxq.Registry) -> None:
    with registry.engines[engine].active():
        result = function(codes(0, 3), 1 / 256, 0)
        full = function(codes(5, 3), 1 / 256, 0)
    assert (result.shape, result.q_scale(), result.q_zero_point()) == ((0, 3), 1 / 256, 0)
    assert (full.q_scale(), full.q_zero_point()) == (1 / 256, 0)


NORMS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "layer_norm": (lambda s: nn.LayerNorm(s[-1]), lambda n: [list(n.normalized_shape)], (2, 3, 4)),
    "layer_norm of two": (lambda s: nn.LayerNorm(s[-2:]), lambda n: [list(n.normalized_shape)], (2, 3, 4)),
    "group_norm": (lambda s: nn.GroupNorm(2, s[1]), lambda n: [n.num_groups], (3, 4, 5)),
    "instance_norm": (
        lambda s: {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}[len(s)](s[1], affine=True),
        lambda n: [],
        (3, 4, 5),
    ),
}
SHAPES = {2: (5, 6), 3: (2, 6, 7), 4: (2, 4, 5, 6), 5: (2, 4, 3, 5, 4)}


@pytest.mark.parametrize("name", NORMS)
def test_norms_are_within_one_code(engine: str, name: str, registry: fxq.Registry) -> None:
    make, leading, ranks = NORMS[name]
    for rank, plain, last in itertools.product(ranks, (False, True), (False, True)):
        if last and rank != 4:
            continue
        torch.manual_seed(rank)
        norm = make(SHAPES[rank]).eval()
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        tensors = {"weight": None, "bias": None} if plain else {"weight": norm.weight, "bias": norm.bias}
        if plain:
            norm.weight, norm.bias = None, None
        quantized = QuantizedNorm(name.partition(" ")[0], tuple(leading(norm)), tensors, norm.eps)
        x = codes(*SHAPES[rank])
        if last:
            x = x.contiguous(memory_format=torch.channels_last)
        with registry.engines[engine].active(), torch.no_grad():
            result = quantized(x, 0.05, 128)
            wanted = (torch.round(norm(x.dequantize()) / 0.05) + 128).clamp(0, 255)
        assert result.shape == x.shape
        assert (result.int_repr() - wanted).abs().max() <= 1, (rank, plain, last)


def test_a_table_of_int8_rows_is_served(engine: str, registry: fxq.Registry) -> None:
    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.bag, self.layer = nn.Embedding(9, 8), nn.EmbeddingBag(9, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> Any:
            return self.table(x), self.layer(self.bag(x))

    model, x = Look().eval(), torch.arange(6).reshape(2, 3)
    lowered: Any = fxq.quantize(model, [x], engine, registry=registry)
    assert [row.pattern for row in fxq.report(lowered).rows if row.quantized] == [
        "embedding",
        "embedding_bag",
        "linear",
    ]
    rows, result = lowered(x)
    assert torch.equal(rows, (lowered.table.weight * lowered.table.weight_scale.unsqueeze(1))[x])
    torch.testing.assert_close(result, model(x)[1].detach(), rtol=0.02, atol=0.02)
