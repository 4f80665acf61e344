"""Averages: integer sums by one factor in float32, where a half depends on how kernels add the zero point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from fxq_core.signatures import arguments
from fxq_core.types import QParams

from support.oracle.call import Call
from support.oracle.codes import Codes, float32, zero_point_first, zero_point_last


def geometry(call: Call) -> Mapping[str, Any]:
    """The arguments of a pool or a mean, by name."""
    pool = call.match.modules[0]
    return vars(pool) if pool is not None else arguments(call.match.output, None)


def counts(call: Call, x: Codes) -> torch.Tensor:
    """How many numbers each result is an average of, as int64 that broadcasts to the result."""
    shape = x.values.shape
    if call.name == "mean":
        given = geometry(call)
        dims = given["dim"] if isinstance(given["dim"], (tuple, list)) else [given["dim"]]
        return torch.tensor(math.prod(shape[dim] for dim in dims))
    rank = int(call.name[-2])
    if call.name.startswith("adaptive"):
        return _adaptive(shape[-rank:], call.found.shape[-rank:])
    return _windows(geometry(call), rank, shape[-rank:], call.found.shape[-rank:])


def _adaptive(sizes: torch.Size, results: torch.Size) -> torch.Tensor:
    found = torch.tensor(1)
    for size, result in zip(sizes, results, strict=True):
        spans = [-(-(i + 1) * size // result) - i * size // result for i in range(result)]
        found = found.unsqueeze(-1) * torch.tensor(spans)
    return found


def _windows(given: Mapping[str, Any], rank: int, sizes: torch.Size, results: torch.Size) -> torch.Tensor:
    """Padding counts or not, but what a window has beyond it never does."""
    kernel, padding = ([n] * rank if isinstance(n, int) else list(n) for n in (given["kernel_size"], given["padding"]))
    stride = given["stride"] or kernel
    strides = [stride] * rank if isinstance(stride, int) else list(stride)
    found = torch.tensor(1)
    for size, side, step, pad, result in zip(sizes, kernel, strides, padding, results, strict=True):
        inside = [
            min(i * step - pad + side, size + pad) - (i * step - pad)
            if given["count_include_pad"]
            else min(i * step - pad + side, size) - max(i * step - pad, 0)
            for i in range(result)
        ]
        found = found.unsqueeze(-1) * torch.tensor(inside)
    return found


def pooled(total: torch.Tensor, count: torch.Tensor, output: QParams) -> torch.Tensor:
    """torch's kernels for pools multiply."""
    return zero_point_first(total.float() * (1 / count.float()), output)


def mean(total: torch.Tensor, count: torch.Tensor, output: QParams) -> torch.Tensor:
    """torch's kernel for means divides."""
    return zero_point_first(total.float() / count.float(), output)


def by_qnnpack(total: torch.Tensor, count: torch.Tensor, output: QParams) -> torch.Tensor:
    """One kernel for both, which adds the zero point last."""
    scale = float32(output.scale)
    return zero_point_last(total.float() * (scale / (scale * count.float())), output)
