"""Pools, padding and resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openvino as ov
import torch
from openvino import opset15 as op

from fxq_openvino.translate.moves import taken
from fxq_openvino.translate.values import (
    UntranslatableError,
    each,
    floats,
    ints,
    out,
    plain_ints,
    reshaped,
    shape_of,
    transposed,
    value_of,
)  # fmt: skip


def _images(input: Any, dims: int) -> ov.Output:
    (x,) = floats(input)
    if len(x.shape) != dims + 2:
        raise UntranslatableError("its input has no batch dimension")
    return x


def max_pool(dims: int) -> Callable[..., ov.Output]:
    def translate(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> ov.Output:  # fmt: skip
        if return_indices:
            raise UntranslatableError("it returns indices, too")
        kernel, pads = each(kernel_size, dims), each(padding, dims)
        return op.max_pool(
            _images(input, dims), each(stride or kernel, dims), each(dilation, dims), pads, pads, kernel,
            "ceil_torch" if ceil_mode else "floor",
        ).output(0)  # fmt: skip

    return translate


def avg_pool(dims: int) -> Callable[..., ov.Output]:
    def translate(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: None = None,
    ) -> ov.Output:  # fmt: skip
        if divisor_override is not None:
            raise UntranslatableError("it divides by a number of its own")
        x, kernel, pads = _images(input, dims), each(kernel_size, dims), each(padding, dims)
        if count_include_pad and any(pads):
            # in int8 OpenVINO 2026.4 takes code 0 for the padding of an average, whatever that stands for
            x, pads = pad(x, [side for side in reversed(pads) for _ in "lr"]), [0] * dims
        rounding = "ceil_torch" if ceil_mode else "floor"
        # a window that hangs over the end is divided by what it covers
        excluding = ceil_mode or not count_include_pad
        return out(op.avg_pool(x, each(stride or kernel, dims), pads, pads, kernel, excluding, rounding))

    return translate


def adaptive_avg_pool(dims: int) -> Callable[..., ov.Output]:
    def translate(input: Any, output_size: Any) -> ov.Output:
        x = _images(input, dims)
        sizes = shape_of(x)[2:]
        given = [output_size] * dims if isinstance(output_size, int) or output_size is None else output_size
        wanted = [size if goal is None else goal for goal, size in zip(given, sizes, strict=True)]
        if wanted == [1] * dims:
            return out(op.reduce_mean(x, ints(list(range(2, dims + 2))), True))
        if all(size % goal == 0 for goal, size in zip(wanted, sizes, strict=True)):
            kernel = [size // goal for goal, size in zip(wanted, sizes, strict=True)]
            return out(op.avg_pool(x, kernel, [0] * dims, [0] * dims, kernel, False))
        return out(op.adaptive_avg_pool(x, ints(plain_ints(wanted))))

    return translate


def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> ov.Output:
    x = value_of(input)
    rank, sides = len(x.shape), plain_ints(pad)
    if mode == "circular":
        for number, (low, high) in enumerate(zip(sides[0::2], sides[1::2], strict=True), start=1):
            size = shape_of(x)[-number]
            x = taken(x, rank - number, [index % size for index in range(-low, size + high)])
        return x
    kinds = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    if mode not in kinds:
        raise UntranslatableError(f"its mode is {mode!r}")
    sides = sides + [0] * (2 * rank - len(sides))
    filling = value_of(0.0 if value is None else value) if mode == "constant" else None
    return out(op.pad(x, ints(sides[0::2][::-1]), ints(sides[1::2][::-1]), kinds[mode], filling))


def pad_module(mode: str) -> Callable[..., ov.Output]:
    """For modules whose type says what they pad with."""

    def translate(input: Any, padding: Any, value: Any = None) -> ov.Output:
        return pad(input, padding, mode, value)

    return translate


# where in the middle of a row of the result to look
NEAREST = {"nearest": 0.0, "nearest-exact": 0.5}
SMOOTH = {"linear": "linear_onnx", "bilinear": "linear_onnx", "trilinear": "linear_onnx", "bicubic": "cubic"}


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> ov.Output:  # fmt: skip
    (x,) = floats(input)
    dims = len(x.shape) - 2
    if antialias or (mode not in NEAREST and mode not in SMOOTH):
        raise UntranslatableError(f"it resizes with mode {mode!r}" + " and antialiasing" * antialias)
    there = shape_of(x)[2:]
    if size is not None:
        sizes = each(size, dims)
    else:
        given = [float(scale_factor)] * dims if isinstance(scale_factor, (int, float)) else list(scale_factor)
        sizes = [int(old * factor) for old, factor in zip(there, given, strict=True)]
        exact = recompute_scale_factor or all(old * f == new for old, f, new in zip(there, given, sizes, strict=True))
        if not exact:
            raise UntranslatableError("its scale factors do not give whole sizes")
    if mode in NEAREST:
        if any(new % old for new, old in zip(sizes, there, strict=True)):
            # whose rounding differs: pick the rows as torch does
            return _picked(x, there, sizes, NEAREST[mode])
        kind, coordinates, rounding = "nearest", "asymmetric", "floor"
    else:
        kind, rounding = SMOOTH[mode], "floor"
        coordinates = "align_corners" if align_corners else "pytorch_half_pixel"
        if kind == "cubic" and not align_corners:
            coordinates = "half_pixel"
    axes = ints(list(range(2, dims + 2)))
    return out(
        op.interpolate(
            x, ints(sizes), kind, "sizes", [0] * len(x.shape), [0] * len(x.shape), coordinates, rounding, False,
            -0.75, axes,
        )
    )  # fmt: skip


def _picked(x: ov.Output, there: list[int], sizes: list[int], middle: float) -> ov.Output:
    for dim, (old, new) in enumerate(zip(there, sizes, strict=True), start=2):
        # in float32, as torch computes it
        rows = (torch.arange(new) + middle) * (torch.tensor(float(old)) / new)
        x = taken(x, dim, rows.floor().long().clamp(max=old - 1).tolist())
    return x


def pixel_shuffle(input: Any, upscale_factor: int) -> ov.Output:
    *batch, channels, height, width = shape_of(input)
    factor, front = upscale_factor, len(batch)
    apart = reshaped(input, [*batch, channels // factor**2, factor, factor, height, width])
    order = [*range(front), front, front + 3, front + 1, front + 4, front + 2]
    return reshaped(transposed(apart, order), [*batch, channels // factor**2, height * factor, width * factor])


def pixel_unshuffle(input: Any, downscale_factor: int) -> ov.Output:
    *batch, channels, height, width = shape_of(input)
    factor, front = downscale_factor, len(batch)
    apart = reshaped(input, [*batch, channels, height // factor, factor, width // factor, factor])
    order = [*range(front), front, front + 2, front + 4, front + 1, front + 3]
    return reshaped(transposed(apart, order), [*batch, channels * factor**2, height // factor, width // factor])


def channel_shuffle(input: Any, groups: int) -> ov.Output:
    batch, channels, *sizes = shape_of(input)
    apart = reshaped(input, [batch, groups, channels // groups, *sizes])
    order = [0, 2, 1, *range(3, 3 + len(sizes))]
    return reshaped(transposed(apart, order), [batch, channels, *sizes])
