"""An fxq engine that computes as a chip without floating point does, in plain torch ops.

A quantized value is a plain uint8 tensor of codes; weights are int8, sums int32, and results are brought to 8 bits with
a multiplication and a shift. Read ``fixed_point``, then ``layers`` and ``arithmetic``, then ``lowerings``.
"""

from __future__ import annotations

from collections.abc import Iterator

from fxq_core import Engine, Lowering, hookimpl
from fxq_integer.engine import INTEGER
from fxq_integer.lowerings import lowerings

FXQ_API = ">=1,<2"


@hookimpl
def fxq_engines() -> Iterator[Engine]:
    yield INTEGER


@hookimpl
def fxq_lowerings() -> Iterator[Lowering]:
    yield from lowerings()
