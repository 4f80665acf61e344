"""The four hooks. Each yields frozen records; the core acts on them, so no hook is called back later.

They and the records are the plugin interface, and ``API_VERSION`` is its version, apart from the release's: the minor
part grows when something is added or deprecated, the major part when something goes. A deprecated hook keeps working,
with a warning at every function that implements it, for two minor releases.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from fxq_core.types import Engine, Lowering, ObserverSpec, Pattern

PROJECT = "fxq"
API_VERSION = "1.0"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def fxq_engines() -> Iterable[Engine]:
    """Offer engines.

    This plugin offers one that runs the graph in plain torch ops with narrow 6-bit activations:

    ```python
    import dataclasses

    from fxq_core import hookimpl
    from fxq_core.reference import REFERENCE

    @hookimpl
    def fxq_engines():
        six_bits = dataclasses.replace(REFERENCE.activation, qmax=63)
        yield dataclasses.replace(REFERENCE, name="six-bits", activation=six_bits)
    ```
    """
    return ()


@hookspec
def fxq_patterns() -> Iterable[Pattern]:
    """Register patterns: chains of float ops that some engine can compute as one quantized op.

    This plugin names CELU, which stays float until a lowering for it is installed:

    ```python
    from torch import nn

    from fxq_core import Pattern, hookimpl

    @hookimpl
    def fxq_patterns():
        yield Pattern("celu", {nn.CELU})
    ```
    """
    return ()


@hookspec
def fxq_observers() -> Iterable[ObserverSpec]:
    """Construct observers: named ways to find the range of an activation or a weight.

    This plugin adds one that keeps 1 % of the range in reserve:

    ```python
    from fxq_core import ObserverSpec, hookimpl
    from fxq_core.observers import MinMaxObserver

    class WideObserver(MinMaxObserver):
        def range(self):
            low, high = super().range()
            return low * 1.01, high * 1.01

    @hookimpl
    def fxq_observers():
        yield ObserverSpec("wide", WideObserver)
    ```
    """
    return ()


@hookspec
def fxq_lowerings() -> Iterable[Lowering]:
    """Lower patterns: say how an engine, or a family of engines, computes them.

    This plugin lowers CELU for every engine that runs torch's quantized ops:

    ```python
    import torch

    from fxq_core import Lowering, hookimpl

    def emit(match, ctx):
        (x,), (module,) = ctx.inputs, match.modules
        return ctx.call(torch.ops.quantized.celu, x, *ctx.output, module.alpha)

    @hookimpl
    def fxq_lowerings():
        yield Lowering(engine="torch", pattern="celu", emit=emit)
    ```
    """
    return ()
