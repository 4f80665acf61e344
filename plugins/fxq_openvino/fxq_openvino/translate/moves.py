"""Ops that move, pick or copy numbers; and what is asked of shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import openvino as ov
from openvino import opset15 as op

from fxq_openvino.translate.values import (
    UntranslatableError,
    along,
    ints,
    is_value,
    out,
    plain_int,
    plain_ints,
    reshaped,
    shape_of,
    transposed,
    value_of,
)  # fmt: skip


def spread(values: tuple[Any, ...]) -> list[int]:
    """Numbers that torch takes one by one or as a sequence."""
    return plain_ints(values[0] if len(values) == 1 and isinstance(values[0], (list, tuple)) else values)


def identity(input: Any, *rest: Any, **kept: Any) -> ov.Output:
    return value_of(input)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> ov.Output:
    if training:
        raise UntranslatableError("it drops values even in eval mode")
    return value_of(input)


def to_float(input: Any, *given: Any, **kept: Any) -> ov.Output:
    return out(op.convert(value_of(input), ov.Type.f32))


def reshape(input: Any, *shape: Any) -> ov.Output:
    return reshaped(input, spread(shape))


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> ov.Output:
    sizes = shape_of(input)
    first, last = along(start_dim, len(sizes)), along(end_dim, len(sizes))
    return reshaped(input, [*sizes[:first], math.prod(sizes[first : last + 1]), *sizes[last + 1 :]])


def unflatten(input: Any, dim: int, sizes: Any) -> ov.Output:
    whole = shape_of(input)
    dim, inner = along(dim, len(whole)), plain_ints(sizes)
    known = math.prod(size for size in inner if size != -1)
    inner = [whole[dim] // known if size == -1 else size for size in inner]
    return reshaped(input, [*whole[:dim], *inner, *whole[dim + 1 :]])


def squeeze(input: Any, *dim: Any) -> ov.Output:
    sizes = shape_of(input)
    chosen = {along(axis, len(sizes)) for axis in spread(dim)} if dim else set(range(len(sizes)))
    return reshaped(input, [size for axis, size in enumerate(sizes) if size != 1 or axis not in chosen])


def unsqueeze(input: Any, dim: int) -> ov.Output:
    sizes = shape_of(input)
    dim = along(dim, len(sizes) + 1)
    return reshaped(input, [*sizes[:dim], 1, *sizes[dim:]])


def permute(input: Any, *dims: Any) -> ov.Output:
    rank = len(input.shape)
    return transposed(value_of(input), [along(dim, rank) for dim in spread(dims)])


def transpose(input: Any, dim0: int = 0, dim1: int = 1) -> ov.Output:
    rank = len(input.shape)
    if rank < 2:
        return value_of(input)
    order = list(range(rank))
    first, second = along(dim0, rank), along(dim1, rank)
    order[first], order[second] = second, first
    return transposed(value_of(input), order)


def movedim(input: Any, source: Any, destination: Any) -> ov.Output:
    rank = len(input.shape)
    sources, places = ([along(n, rank) for n in ([v] if isinstance(v, int) else v)] for v in (source, destination))
    rest = iter(dim for dim in range(rank) if dim not in sources)
    moved = dict(zip(places, sources, strict=True))
    return transposed(value_of(input), [moved[dim] if dim in moved else next(rest) for dim in range(rank)])


def expand(input: Any, *sizes: Any) -> ov.Output:
    wanted, there = spread(sizes), shape_of(input)
    there = [1] * (len(wanted) - len(there)) + there
    return out(op.broadcast(value_of(input), ints([b if a == -1 else a for a, b in zip(wanted, there, strict=True)])))


def expand_as(input: Any, other: Any) -> ov.Output:
    return expand(input, *shape_of(other))


def repeat(input: Any, *repeats: Any) -> ov.Output:
    counts, sizes = spread(repeats), shape_of(input)
    missing = max(len(sizes) - len(counts), 0)
    return out(op.tile(value_of(input), ints([1] * missing + counts)))


def repeat_interleave(input: Any, repeats: Any, dim: Any = None) -> ov.Output:
    if dim is None:
        return repeat_interleave(reshaped(input, [-1]), repeats, 0)
    sizes, count = shape_of(input), plain_int(repeats)
    dim = along(dim, len(sizes))
    apart = reshaped(input, [*sizes[: dim + 1], 1, *sizes[dim + 1 :]])
    copies = op.tile(apart, ints([count if axis == dim + 1 else 1 for axis in range(len(sizes) + 1)]))
    return reshaped(out(copies), [*sizes[:dim], sizes[dim] * count, *sizes[dim + 1 :]])


def roll(input: Any, shifts: Any, dims: Any = None) -> ov.Output:
    if dims is None:
        return reshaped(roll(reshaped(input, [-1]), shifts, 0), shape_of(input))
    shifts, dims = ([value] if isinstance(value, int) else list(value) for value in (shifts, dims))
    rank = len(input.shape)
    return out(op.roll(value_of(input), ints(plain_ints(shifts)), ints([along(dim, rank) for dim in dims])))


def flip(input: Any, *dims: Any) -> ov.Output:
    value, rank = value_of(input), len(input.shape)
    for dim in spread(dims):
        value = taken(value, along(dim, rank), range(shape_of(value)[dim] - 1, -1, -1))
    return value


def taken(value: Any, dim: int, indices: Sequence[int]) -> ov.Output:
    """The slices at some indices of a dimension."""
    return out(op.gather(value_of(value), ints(list(indices)), ints(dim)))


def index_select(input: Any, dim: Any, index: Any) -> ov.Output:
    if is_value(index):
        raise UntranslatableError("its index is computed at run time")
    return taken(input, along(dim, len(input.shape)), index.tolist())


def select(input: Any, dim: Any, index: Any) -> ov.Output:
    dim = along(dim, len(input.shape))
    return out(op.gather(value_of(input), ints(along(index, shape_of(input)[dim])), ints(dim)))


def narrow(input: Any, dim: Any, start: Any, length: Any) -> ov.Output:
    dim = along(dim, len(input.shape))
    first = plain_int(start) % max(shape_of(input)[dim], 1) if start < 0 else plain_int(start)
    return sliced(value_of(input), dim, first, first + plain_int(length), 1)


def sliced(value: ov.Output, dim: int, start: int, stop: int, step: int) -> ov.Output:
    if (start, stop, step) == (0, shape_of(value)[dim], 1):
        return value
    return out(op.slice(value, ints([start]), ints([stop]), ints([step]), ints([dim])))


def getitem(input: Any, index: Any) -> Any:
    if not is_value(input):
        return input[index]
    value, dim, parts = input, 0, list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(part, (list, bool)) or is_value(part) or hasattr(part, "dtype") for part in parts):
        raise UntranslatableError("its index is neither numbers nor slices")
    taking = sum(part is not None and part is not ... for part in parts)
    for part in parts:
        if part is ...:
            dim += len(input.shape) - taking
        elif part is None:
            value, dim = unsqueeze(value, dim), dim + 1
        elif isinstance(part, slice):
            value, dim = sliced(value, dim, *part.indices(shape_of(value)[dim])), dim + 1
        else:
            value = select(value, dim, part)
    return value


def cat(tensors: Any, dim: int = 0) -> ov.Output:
    values = [value_of(tensor) for tensor in tensors]
    # which torch leaves out
    values = [value for value in values if shape_of(value) != [0]] or values
    return out(op.concat(values, along(dim, len(values[0].shape))))


def stack(tensors: Any, dim: int = 0) -> ov.Output:
    return cat([unsqueeze(tensor, dim) for tensor in tensors], dim)


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[ov.Output, ...]:
    size = shape_of(input)[along(dim, len(input.shape))]
    return split(input, max(-(-size // plain_int(chunks)), 1), dim)


def split(input: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[ov.Output, ...]:
    dim = along(dim, len(input.shape))
    size, pieces = shape_of(input)[dim], split_size_or_sections
    if isinstance(pieces, int):
        pieces = [min(pieces, size - start) for start in range(0, max(size, 1), pieces)]
    return tuple(op.variadic_split(value_of(input), ints(dim), ints(plain_ints(pieces))).outputs())


def split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> tuple[ov.Output, ...]:
    return split(input, list(split_sizes), dim)


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[ov.Output, ...]:
    size, cuts = shape_of(input)[along(dim, len(input.shape))], indices_or_sections
    if isinstance(cuts, int):
        each, more = divmod(size, cuts)
        return split(input, [each + (part < more) for part in range(cuts)], dim)
    ends = [0, *(slice(cut).indices(size)[1] for cut in plain_ints(cuts)), size]
    return split(input, [max(b - a, 0) for a, b in itertools.pairwise(ends)], dim)


def unbind(input: Any, dim: int = 0) -> tuple[ov.Output, ...]:
    dim = along(dim, len(input.shape))
    return tuple(select(input, dim, index) for index in range(shape_of(input)[dim]))


def size(input: Any, dim: Any = None) -> Any:
    return tuple(shape_of(input)) if dim is None else shape_of(input)[dim]


def attribute(input: Any, name: str) -> Any:
    if name == "shape":
        return tuple(shape_of(input))
    if name == "ndim":
        return len(input.shape)
    raise UntranslatableError(f"it reads the attribute {name!r}")


def rank(input: Any) -> int:
    return len(input.shape)


def numel(input: Any) -> int:
    return math.prod(shape_of(input))
