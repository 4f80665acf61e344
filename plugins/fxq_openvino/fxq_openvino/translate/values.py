"""What translations work with: values of an OpenVINO graph, torch tensors that are constants, and plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import openvino as ov
import torch
from openvino import opset15 as op

TYPES = {
    torch.float32: ov.Type.f32,
    torch.float64: ov.Type.f64,
    torch.float16: ov.Type.f16,
    torch.bfloat16: ov.Type.bf16,
    torch.int64: ov.Type.i64,
    torch.int32: ov.Type.i32,
    torch.int16: ov.Type.i16,
    torch.int8: ov.Type.i8,
    torch.uint8: ov.Type.u8,
    torch.bool: ov.Type.boolean,
}


class UntranslatableError(Exception):
    """An op, or the way that it is called, has no translation; the text says what, as part of a sentence."""


def out(node: Any) -> ov.Output:
    """The only result of an OpenVINO node."""
    return node.output(0)


def is_value(value: Any) -> bool:
    """Whether something is computed by the OpenVINO graph."""
    return isinstance(value, ov.Output)


def shape_of(value: ov.Output | torch.Tensor) -> list[int]:
    return [int(size) for size in value.shape]


def value_of(given: Any) -> ov.Output:
    """Something that an op takes, as a value of the graph: tensors and numbers become constants.

    Raises:
        UntranslatableError: it is none of these.
    """
    if is_value(given):
        return given
    if isinstance(given, torch.Tensor):
        return out(op.constant(given.detach().contiguous().numpy()))
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return out(op.constant(float(given), ov.Type.f32))
    raise UntranslatableError(f"it takes {type(given).__name__}")


def floats(*given: Any) -> list[ov.Output]:
    """What an op in float32 takes.

    Raises:
        UntranslatableError: something that is not float32, to which torch would apply its rules of promotion.
    """
    values = [value_of(value) for value in given]
    for value in values:
        if value.get_element_type() != ov.Type.f32:
            raise UntranslatableError(f"it takes a tensor of {value.get_element_type().get_type_name()}")
    return values


def ints(values: Sequence[int] | int) -> ov.Output:
    """Sizes, axes and the like, as a constant of int64."""
    return out(op.constant(values, ov.Type.i64))


def plain_int(value: Any) -> int:
    """A number that is known when the graph is built.

    Raises:
        UntranslatableError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise UntranslatableError("one of its arguments is no plain number")
    return value


def plain_ints(values: Any) -> list[int]:
    return [plain_int(value) for value in values]


def along(dim: Any, rank: int) -> int:
    """A dimension, counted from the first."""
    dim = plain_int(dim)
    if not -rank <= dim < rank:
        raise UntranslatableError(f"it names dimension {dim} of {rank}")
    return dim % rank


def each(value: Any, count: int) -> list[int]:
    """One number for each dimension, of which torch takes one for all."""
    values = [value] if isinstance(value, int) else list(value)
    return plain_ints(values * count if len(values) == 1 else values)


def reshaped(value: Any, sizes: Sequence[int]) -> ov.Output:
    """``value`` in another shape, of which one size may be -1."""
    sizes = plain_ints(sizes)
    total = math.prod(shape_of(value))
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        sizes = [total // rest if size == -1 else size for size in sizes]
    if math.prod(sizes) != total:
        raise UntranslatableError(f"its input of {total} elements does not fit the shape {sizes}")
    return out(op.reshape(value_of(value), ints(sizes), False))


def transposed(value: ov.Output, order: Sequence[int]) -> ov.Output:
    return out(op.transpose(value, ints(list(order))))


def parameter(shape: Sequence[int], dtype: torch.dtype) -> ov.Output:
    """An input of the graph.

    Raises:
        UntranslatableError: OpenVINO has no such dtype.
    """
    if dtype not in TYPES:
        raise UntranslatableError(f"it takes a tensor of {dtype}")
    return out(op.parameter(list(shape), TYPES[dtype]))
