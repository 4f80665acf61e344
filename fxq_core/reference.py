"""The reference engine: quantize, float op, quantize; in plain float tensors, for any pattern.

A quantized value is held as the float32 numbers that its codes stand for. It is the oracle for every engine that
computes in integers, and needs no hardware.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core.capture.values import value_of
from fxq_core.context import LoweringContext, QWeight
from fxq_core.families import FIXED, IN_FLOAT
from fxq_core.types import Engine, Lowering, Match, QSpec
from fxq_core.weight_only import emit_embedding, emit_embedding_bag

FAMILY = "reference"
CONVOLUTIONS: dict[type[nn.Module], Any] = {nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d, nn.Conv3d: F.conv3d}
TRANSPOSED: dict[type[nn.Module], Any] = {
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
    nn.ConvTranspose3d: F.conv_transpose3d,
}


def nothing_to_reject() -> None:
    return None


REFERENCE = Engine(
    name="reference",
    family=FAMILY,
    activation=QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="percentile"),
    weight=QSpec(torch.int8, -127, 127, symmetric=True, axis=0, observer="minmax"),
    active=contextlib.nullcontext,
    reject=nothing_to_reject,
)


def fake_quantize(x: torch.Tensor, scale: float, zero_point: int, qmin: int, qmax: int) -> torch.Tensor:
    """The nearest value that a code stands for: ``(clamp(round(x / scale) + zero_point) - zero_point) * scale``.

    Rounds half to even. ``x`` and the result are float32 of any shape.
    """
    codes = torch.round(x / scale) + zero_point
    return (codes.clamp(qmin, qmax) - zero_point) * scale


class ReferenceLayer(nn.Module):
    """A convolution or linear layer whose weight is kept as int8 codes and used as the floats they stand for.

    Buffers: ``weight`` (int8), ``weight_scale`` (float32, one per output channel or one in all), ``bias`` (float32).
    """

    weight: torch.Tensor
    weight_scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: QWeight, function: Callable[..., torch.Tensor], **arguments: Any) -> None:
        super().__init__()
        self.register_buffer("weight", weight.values)
        self.register_buffer("weight_scale", weight.scale)
        self.register_buffer("bias", weight.bias)
        self.axis, self.function, self.arguments = weight.axis, function, arguments

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = QWeight(self.weight, self.weight_scale, self.axis).dequantize()
        return self.function(x, weight, self.bias, **self.arguments)

    def extra_repr(self) -> str:
        return f"{self.function.__name__}, {self.arguments}"


def emit_layer(match: Match, ctx: LoweringContext) -> fx.Node:
    layer: Any = match.modules[0]
    # kernels for transposed convolutions take one scale in all
    weight = ctx.quantize_weight(layer.weight, layer.bias, axis=None if type(layer) in TRANSPOSED else 0)
    if isinstance(layer, nn.Linear):
        module = ReferenceLayer(weight, F.linear)
    else:
        transposed = ("output_padding",) if type(layer) in TRANSPOSED else ()
        geometry = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups", *transposed)}
        module = ReferenceLayer(weight, {**CONVOLUTIONS, **TRANSPOSED}[type(layer)], **geometry)
    result = ctx.copy({match.nodes[0]: ctx.module(module, ctx.inputs[0])})
    return _rounded(result, ctx)


def emit_any(match: Match, ctx: LoweringContext) -> fx.Node:
    # what picks tensors apart changes no number, and a tuple can't be rounded
    return ctx.copy() if value_of(match.output).kind == "tensors" else _rounded(ctx.copy(), ctx)


def emit_quantize(match: Match, ctx: LoweringContext) -> fx.Node:
    return _rounded(ctx.inputs[0], ctx)


def emit_dequantize(match: Match, ctx: LoweringContext) -> fx.Node:
    return ctx.inputs[0]


def emit_constant(match: Match, ctx: LoweringContext) -> fx.Node:
    output = ctx.output
    return ctx.constant(fake_quantize(ctx.attribute(), output.scale, output.zero_point, output.qmin, output.qmax))


def _rounded(node: fx.Node, ctx: LoweringContext) -> fx.Node:
    return ctx.call(fake_quantize, node, *ctx.output, ctx.output.qmin, ctx.output.qmax)


def lowerings() -> Iterator[Lowering]:
    """Layers with weights, ops that prescribe their range, the borders, and one lowering for everything else."""
    convolutions = (f"conv{kind}{dims}d" for kind in ("", "_transpose") for dims in (1, 2, 3))
    for layer in (*convolutions, "linear"):
        for pattern in (layer, f"{layer}_clamp"):
            yield Lowering(engine=FAMILY, pattern=pattern, emit=emit_layer)
    for pattern, output in FIXED.items():
        yield Lowering(engine=FAMILY, pattern=pattern, emit=emit_any, output=output)
    yield Lowering(engine=FAMILY, pattern="quantize", emit=emit_quantize)
    yield Lowering(engine=FAMILY, pattern="dequantize", emit=emit_dequantize)
    yield Lowering(engine=FAMILY, pattern="constant", emit=emit_constant)
    for pattern in IN_FLOAT:
        yield Lowering(engine=FAMILY, pattern=pattern, emit=emit_any, in_float=True)
    yield Lowering(engine=FAMILY, pattern="embedding", emit=emit_embedding)
    yield Lowering(engine=FAMILY, pattern="embedding_bag", emit=emit_embedding_bag)
    yield Lowering(engine=FAMILY, pattern="*", emit=emit_any)
