"""A part of a network that OpenVINO computes, as a module: plain data, from which models are compiled when needed."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from fxq_core.errors import FxqError, InputError, one_line
from fxq_core.quantized_module import Scale, ZeroPoint, restore

# shapes, or numbers of threads, for which compiled models are kept
KEPT = 8
# what a compiled model can't hold, and is made again where it is missing
MADE = ("_qparams", "_pools")


def channels_last(x: torch.Tensor) -> bool:
    """Whether an image has its channels last in memory; it is then taken as it is."""
    return not x.is_contiguous() and x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


class CompiledRegion(nn.Module):
    """Computes some nodes of a lowered graph.

    ``forward(qparams, *inputs)`` takes the scales and zero points of the region in the order of its nodes, and the
    tensors that it takes; it gives one value, or a tuple of as many as the region has results. The weights are where
    they were, in the modules of the graph's owner: they are all of the state, and this module has none of its own.
    A model is compiled for the shapes and dtypes of the inputs and for torch's number of threads when they first come,
    and the last ``KEPT`` are kept.

    Args:
        rows: the region's graph, as plain data.
        owner: the module that holds what the graph refers to.
    """

    def __init__(self, rows: Sequence[tuple[Any, ...]], owner: nn.Module) -> None:
        super().__init__()
        self.eval()
        self.rows = list(rows)
        # in a tuple, so that it is no submodule
        self.owner = (owner,)
        for module in self._sources():
            module.register_load_state_dict_post_hook(self.forget)  # type: ignore[no-untyped-call]
        self.forget()

    def _sources(self) -> list[nn.Module]:
        """The modules whose tensors the compiled models hold."""
        (owner,) = self.owner
        paths = dict.fromkeys(str(target) for op, _, target, *_ in self.rows if op == "call_module")
        return [owner, *(owner.get_submodule(path) for path in paths)]

    def forget(self, *_: Any) -> None:
        """Drop the compiled models; the next call makes what it needs from the tensors as they are then."""
        self._qparams: tuple[Any, ...] | None = None
        self._pools: OrderedDict[Any, Any] = OrderedDict()

    def forward(self, qparams: tuple[Any, ...], *inputs: torch.Tensor) -> Any:
        # the tuple is a constant of the caller's code, which is another where loading a state has changed it
        if qparams is not self._qparams:
            self._pools, self._qparams = OrderedDict(), qparams
        pools = self._pools
        key = (torch.get_num_threads(), *[(x.shape, x.dtype, channels_last(x)) for x in inputs])
        pool = pools.get(key)
        if pool is None:
            if any(x.numel() == 0 for x in inputs):
                return self._in_torch(qparams, inputs)
            pool = pools.setdefault(key, self._pool(qparams, inputs))
            while len(pools) > KEPT:
                pools.popitem(last=False)
        return pool(inputs)

    def _pool(self, qparams: tuple[Any, ...], inputs: Sequence[torch.Tensor]) -> Any:
        from fxq_openvino.runtime import Pool, Runner

        (owner,), threads = self.owner, torch.get_num_threads()
        like, lasts = [x.detach() for x in inputs], [*map(channels_last, inputs)]

        def make() -> Runner:
            try:
                return Runner(self._graph(qparams), owner, like, lasts, threads)
            except FxqError:
                raise
            except Exception as error:
                shapes = ", ".join(f"{x.dtype} of shape {tuple(x.shape)}" for x in like)
                raise InputError(
                    f"OpenVINO can't compile {self._name()} for {shapes} ({one_line(error)}); give it the inputs that "
                    "the float model takes"
                ) from error

        return Pool(make, max((os.cpu_count() or 1) // threads, 1))

    def _graph(self, qparams: tuple[Any, ...]) -> fx.Graph:
        """The region's graph with these scales and zero points."""
        given = iter(qparams)
        graph = restore(self.rows)
        for node in graph.nodes:
            # as they were collected: node by node, positional arguments first
            args, kwargs = fx.node.map_aggregate((node.args, node.kwargs), lambda value: _next(value, given))
            node.args, node.kwargs = args, kwargs
        return graph

    def _in_torch(self, qparams: tuple[Any, ...], inputs: Sequence[torch.Tensor]) -> Any:
        """For empty tensors, which OpenVINO does not take."""
        (owner,) = self.owner
        interpreter = fx.Interpreter(owner, graph=self._graph(qparams))
        interpreter.extra_traceback = False  # or the model's own message is buried in torch.fx's
        results = interpreter.run(*inputs)
        return results[0] if len(results) == 1 else results

    def _name(self) -> str:
        (owner,) = self.owner
        return next(name for name, module in owner.named_modules() if module is self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in MADE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.forget()

    def extra_repr(self) -> str:
        return f"{sum(op.startswith('call') for op, *_ in self.rows)} nodes"


def _next(value: Any, given: Any) -> Any:
    return next(given) if isinstance(value, (Scale, ZeroPoint)) else value
