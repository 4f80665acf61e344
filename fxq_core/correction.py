"""Bias correction: a layer's bias takes up what the rounding of its weight adds to its results on average.

A rounded weight ``W + E`` shifts the mean of each output channel by ``mean(E x)``. Layers are linear, so that is
``E mean(x)``: what a layer takes on average is all there is to know of the data, and is found before any weight is
rounded. The bias is lowered by the shift (Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and
Bias Correction, section 4.2; here with means that were observed, as in their appendix D).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from fxq_core.exact import ExactSum

if TYPE_CHECKING:
    from fxq_core.matching import Candidate

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
# layers in one line
NAMED = 6


def correctable(chosen: Mapping[fx.Node, Candidate]) -> dict[fx.Node, str]:
    """The paths of the layers whose bias can be corrected, by the last node of each match that begins with one."""
    return {
        output: str(candidate.match.nodes[0].target)
        for output, candidate in chosen.items()
        if type(candidate.match.modules[0]) in LAYERS
    }


def told(paths: Sequence[str]) -> Iterator[str]:
    """A line that names the layers whose bias is corrected, the first of them if they are many."""
    if paths:
        named = ", ".join(path or "the root" for path in paths[:NAMED])
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        yield f"the bias takes up the mean error of the rounded weight in {named}{more}"


class InputMean:
    """What each element of a layer's kernel meets on average, over all of the layer's results.

    So what a window finds beyond the border counts as the zeros that it is, whatever the sizes of the images. Batches
    add up to the same in any order.

    Attributes:
        results: how many results of each output channel there were.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer: Any = layer
        self.results = 0
        self._sum = ExactSum()

    def observe(self, x: torch.Tensor) -> None:
        """Take in an input of the layer, float32; NaN and Inf in it count as 0."""
        sums, results = _sums(self.layer, x)
        if not math.isfinite(float(sums.sum())):
            sums, results = _sums(self.layer, x.double().nan_to_num(0.0, 0.0, 0.0))
        self._sum.add(sums)
        self.results += results

    def mean(self) -> torch.Tensor:
        """The mean, float64 of shape ``(channels in, *kernel)``; zeros if there was no result."""
        zeros = torch.zeros(_shape(self.layer), dtype=torch.float64)
        return zeros + self._sum.total() / max(self.results, 1)

    def merge(self, other: InputMean) -> None:
        """Become what would have observed this one's inputs and another's."""
        self.results += other.results
        self._sum.merge(other._sum)

    def state_dict(self) -> dict[str, Any]:
        return {"results": self.results, "digits": dict(self._sum.digits)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.results = state["results"]
        self._sum = ExactSum(state["digits"])


def mean_shift(layer: Any, error: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """By how much an error of the weight shifts each output channel on average: float64 of shape ``(channels out,)``.

    Args:
        layer: one of the types ``LAYERS``.
        error: float64, of the shape of its weight.
        mean: what ``InputMean.mean`` gives for it.
    """
    rows = by_output(layer, error)
    return (rows * mean.reshape(len(rows), 1, -1, *mean.shape[1:])).flatten(2).sum(2).flatten()


def by_output(layer: Any, weight: torch.Tensor) -> torch.Tensor:
    """A tensor like a layer's weight as ``(groups, out / groups, in / groups, *kernel)``."""
    rows = weight.reshape(getattr(layer, "groups", 1), -1, *weight.shape[1:])
    return rows.transpose(1, 2) if isinstance(layer, TRANSPOSED) else rows


def _shape(layer: Any) -> tuple[int, ...]:
    """The channels that a layer takes, and its kernel; of the weight, since what else a layer holds may be outdated."""
    grouped, *kernel = layer.weight.shape[1:]
    if isinstance(layer, TRANSPOSED):
        return (len(layer.weight), *kernel)
    return (grouped * getattr(layer, "groups", 1), *kernel)


def _geometry(layer: Any, name: str, dims: int) -> tuple[int, ...]:
    """A setting of a convolution for each dimension, of which torch takes one for all too."""
    value = getattr(layer, name)
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * dims if len(numbers) == 1 else numbers


def _sums(layer: Any, x: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The sum of what each element of the kernel meets, and over how many results of each output channel."""
    if isinstance(layer, nn.Linear):
        rows = x.reshape(-1, *_shape(layer))
        return rows.sum(0).double(), len(rows)
    dims = layer.weight.dim() - 2
    sums = x if x.dim() > dims + 1 else x.unsqueeze(0)
    results, sizes = len(sums), sums.shape[2:]
    kernel, stride, padding = _shape(layer)[1:], _geometry(layer, "stride", dims), _geometry(layer, "padding", dims)
    if {*kernel, *stride} == {1} and set(padding) == {0} and not isinstance(layer, TRANSPOSED):
        return sums.flatten(2).sum(2).double().sum(0).reshape(_shape(layer)), results * math.prod(sizes)
    for dim in reversed(range(dims)):
        met, length = _met(layer, dim, sizes[dim])
        # the last dimension of the image goes, that of the kernel comes first
        sums = _sums_of(sums, met)
        results *= length
    return sums.sum(-2).movedim(-1, 0), results


def _sums_of(x: torch.Tensor, parts: Sequence[slice]) -> torch.Tensor:
    """The sums over parts of the last dimension, in float64, one after the other along a new first dimension.

    Each is summed in the dtype of ``x``: most of the work is done on images of float32, in a tenth of the time.
    """
    size = x.shape[-1]
    ranges = [range(*part.indices(size)) for part in parts]
    # without gaps and nearly all of it: the whole, which is summed once, less its ends
    ends = [len(r) > size // 2 and r.step == 1 for r in ranges]
    whole = x.sum(-1).double() if any(ends) else None
    return torch.stack(
        [
            whole - x[..., : r.start].sum(-1).double() - x[..., r.stop :].sum(-1).double()
            if whole is not None and most
            else x[..., part].sum(-1).double()
            for part, r, most in zip(parts, ranges, ends, strict=True)
        ]
    )


def _met(layer: Any, dim: int, size: int) -> tuple[list[slice], int]:
    """Along one dimension: which pixels each element of the kernel meets, and how many results there are."""
    dims = layer.weight.dim() - 2
    kernel = _shape(layer)[1 + dim]
    stride, padding, dilation = (_geometry(layer, name, dims)[dim] for name in ("stride", "padding", "dilation"))
    extent = dilation * (kernel - 1) + 1
    offsets = [dilation * element - padding for element in range(kernel)]
    if isinstance(layer, TRANSPOSED):
        # pixel i gives to result i * stride + offset
        length = (size - 1) * stride - 2 * padding + extent + _geometry(layer, "output_padding", dims)[dim]
        return [slice(_first(o, stride), max((length - 1 - o) // stride + 1, 0)) for o in offsets], length
    # result i takes pixel i * stride + offset
    length = (size + 2 * padding - extent) // stride + 1
    return [
        slice(_first(o, stride) * stride + o, max((length - 1) * stride + o + 1, 0), stride) for o in offsets
    ], length


def _first(offset: int, stride: int) -> int:
    """The first number at which ``number * stride + offset`` is not negative."""
    return max(-(offset // stride), 0)
