"""CELU in int8, for every fxq engine that runs torch's quantized ops."""

import torch
from torch import nn

from fxq_core import Lowering, Pattern, hookimpl

FXQ_API = ">=1,<2"
CELU = Pattern("celu", {nn.CELU})


def emit(match, ctx):
    (x,), (module,) = ctx.inputs, match.modules
    return ctx.call(torch.ops.quantized.celu, x, *ctx.output, module.alpha)


@hookimpl
def fxq_patterns():
    yield CELU


@hookimpl
def fxq_lowerings():
    yield Lowering(engine="torch", pattern=CELU.name, emit=emit)
