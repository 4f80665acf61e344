"""Running the graphs of a model node by node, with somebody who looks at every value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from fxq_core.capture.calls import Arguments, cloned, kept_buffers, kept_random, positional
from fxq_core.quantized_module import SOURCE, QuantizedModule


class Tap(fx.Interpreter):
    """Runs a graph; ``look`` is given each node and its value, and gives the value that the next nodes take."""

    def __init__(self, module: nn.Module, graph: fx.Graph, look: Callable[[fx.Node, Any], Any]) -> None:
        super().__init__(module, graph=graph)
        self.extra_traceback = False
        self.look = look

    def run_node(self, n: fx.Node) -> Any:
        return self.look(n, super().run_node(n))


def last_of_sources(module: QuantizedModule) -> dict[str, fx.Node]:
    """The lowered node that holds each node of the float graph, by the latter's name.

    An emitter may add several nodes for one: the last is what it returned.
    """
    return {node.meta[SOURCE]: node for node in module.fxq_graph.nodes if SOURCE in node.meta}


def first_calls(root: nn.Module, parts: Mapping[str, nn.Module], inputs: Arguments) -> dict[str, tuple[Any, ...]]:
    """What a model gives each of some of its modules when they are first called, by their keys in ``parts``."""
    calls: dict[str, tuple[Any, ...]] = {}

    def watch(key: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if key not in calls:
                calls[key] = positional(module, *cloned((args, kwargs)))

        return note

    handles = [part.register_forward_pre_hook(watch(key), with_kwargs=True) for key, part in parts.items()]
    args, kwargs = cloned(inputs)
    try:
        with torch.no_grad(), kept_random(), kept_buffers(root):
            root(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return calls
