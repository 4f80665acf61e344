"""The codes that each op must give on each engine, and where a result lies halfway between two."""

from __future__ import annotations

import torch

from fxq_core.families import IN_FLOAT
from fxq_core.reference import REFERENCE
from fxq_core.signatures import arguments, clamp_bounds
from fxq_core.types import QParams

from support.oracle import averages, elementwise, functions, layers
from support.oracle.call import Call
from support.oracle.codes import Codes, zero_point_first, zero_point_last

QNNPACK = "qnnpack"
AVERAGES = frozenset({"mean", *(f"{kind}avg_pool{dims}d" for kind in ("", "adaptive_") for dims in (1, 2, 3))})
# what counts as halfway, in codes: float32 numbers of a few hundred codes are known to some 1 / 2**15 of one
HALFWAY = 2.0**-10


def exact(call: Call) -> torch.Tensor:
    """The result in steps of the output's scale, before rounding and any clamp; float64."""
    return functions.exact(call) if call.layer is None else layers.exact(call)


def expected(call: Call) -> torch.Tensor:
    """The codes in int64."""
    return _clamped(call, _rounded(call))


def halfway(call: Call) -> torch.Tensor:
    """Where rounding half to even, half up or half away from zero, and a float32 error, make a difference."""
    steps = exact(call)
    return (steps - torch.floor(steps) - 0.5).abs() < HALFWAY


def _rounded(call: Call) -> torch.Tensor:
    if call.engine == REFERENCE.name:
        return zero_point_last(exact(call), call.output)
    if call.layer is not None:
        return zero_point_first(exact(call), call.output) if call.activation else layers.codes(call)
    if call.name in AVERAGES:
        return _average(call)
    if call.name in ("add", "sub"):
        return _sum(call)
    if call.name == "mul":
        return elementwise.multiplied(*call.inputs, call.output)
    if call.name == "leaky_relu":
        slope = arguments(call.match.output, call.match.modules[0])["negative_slope"]
        return elementwise.leaky(*call.inputs, slope, call.output)
    if call.name in ("cat", "stack"):
        return _joined(call)
    # QNNPACK looks its results up in a table made as torch converts numbers to codes
    by_code = call.name in IN_FLOAT or (call.engine == QNNPACK and call.name == "hardswish")
    return (zero_point_first if by_code else zero_point_last)(exact(call), call.output)


def _average(call: Call) -> torch.Tensor:
    (x,) = call.inputs
    count, steps = averages.counts(call, x), functions.exact(call)
    total = torch.round(steps * count).long()
    if call.engine == QNNPACK:
        if _is_in_float(call, x):
            return zero_point_first(steps, call.output)
        if _is_qnnpack_average(call, x, count):
            return averages.by_qnnpack(total, count, call.output)
    return (averages.mean if call.name == "mean" else averages.pooled)(total, count, call.output)


def _is_in_float(call: Call, x: Codes) -> bool:
    """QNNPACK has averages of images alone, and counts the padding in."""
    if call.name == "avg_pool2d":
        given = averages.geometry(call)
        return not given["count_include_pad"] and given["padding"] not in (0, (0, 0))
    return call.name == "adaptive_avg_pool3d"


def _is_qnnpack_average(call: Call, x: Codes, count: torch.Tensor) -> bool:
    """Whether torch asks QNNPACK: for windows of one size over signals and images."""
    if call.name in ("avg_pool1d", "avg_pool2d"):
        return not averages.geometry(call)["ceil_mode"]
    if call.name.startswith("adaptive"):
        return call.name != "adaptive_avg_pool3d" and bool((count == count.flatten()[0]).all())
    return x.values.dim() == 4 and count.numel() == 1 and count == x.values.shape[2] * x.values.shape[3]


def _sum(call: Call) -> torch.Tensor:
    a, b = call.inputs
    if call.name == "sub":
        b = elementwise.negative(b)
    whole = call.engine == QNNPACK and a.values.shape == b.values.shape
    return (elementwise.added_by_qnnpack if whole else elementwise.added)(a, b, call.output)


def _joined(call: Call) -> torch.Tensor:
    join = getattr(torch, call.name)
    dim = arguments(call.match.output, None)["dim"]
    joined: torch.Tensor = join([elementwise.converted(x, call.output) for x in call.inputs], dim)
    return joined


def _clamped(call: Call, codes: torch.Tensor) -> torch.Tensor:
    if not call.clamps:
        return codes
    low, high = clamp_bounds(call.match.output, call.match.modules[-1])
    return codes.clamp(_code(low, call.output), _code(high, call.output))


def _code(limit: float, output: QParams) -> int:
    number = torch.tensor(limit, dtype=torch.float64) / output.scale
    return int(zero_point_last(number.clamp(-1e6, 1e6), output))
