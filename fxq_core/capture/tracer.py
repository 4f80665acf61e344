"""Symbolic tracing that gives up one module at a time, not the whole model."""

from __future__ import annotations

import dataclasses
import functools
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from fxq_core.capture.calls import kept_random, random_states
from fxq_core.capture.containers import Layout, count_pieces, require_layout, require_pieces
from fxq_core.capture.graphs import ASKS_FOR_SHAPE, STANDS_FOR_PART
from fxq_core.capture.location import LOCATION, line_of, why
from fxq_core.capture.values import REASON
from fxq_core.errors import CaptureError

RANDOM = "it draws random numbers, which a trace would freeze"
INPLACE_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")

# they call other modules, and compute nothing themselves
CONTAINERS = (nn.Sequential, nn.DataParallel, nn.parallel.DistributedDataParallel)
PLAIN_DICTS = (dict, fx.immutable_collections.immutable_dict)


class RecordingProxy(fx.Proxy):
    """A proxy that records ``x += y`` as the in-place op it is, and knows into how many pieces an op splits."""

    def __len__(self) -> int:
        assert isinstance(self.tracer, Tracer)
        count = self.tracer.count(self)
        return super().__len__() if count is None else count


def _record(name: str) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    target = getattr(operator, f"__i{name}__")

    def inplace(self: fx.Proxy, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", target, (self, other), {})

    return inplace


for _name in INPLACE_OPERATORS:
    setattr(RecordingProxy, f"__i{_name}__", _record(_name))


def require_fixed(value: Any, expected: Any, name: str) -> None:
    """Refuse another value of an argument than the one the graph was traced with."""
    if isinstance(value, torch.Tensor) or (value is not expected and value != expected):
        raise CaptureError(
            f"argument {name!r} was {expected!r} in the example that this model was quantized with and can't "
            f"become a {type(value).__name__} now; quantize again with an example that gives it"
        )


def has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def own_behaviour(module: nn.Module) -> str | None:
    """What a module does beyond what its type says, in a sentence, or None."""
    if has_hooks(module):
        return "it has forward hooks, which are kept"
    return "its forward was replaced on the instance, which is kept" if "forward" in vars(module) else None


def is_layer(module: nn.Module) -> bool:
    """Whether a module is one op of torch.nn, which stays whole in a graph."""
    library = type(module).__module__.startswith("torch.nn.") and not isinstance(module, CONTAINERS)
    return library and type(module).forward is not nn.Module.forward


class DrawsRandomError(Exception):
    """A module drew random numbers while it was traced."""


class Tracer(fx.Tracer):
    """Traces a root; a submodule that can't be traced, or that has hooks, becomes a leaf.

    ``left`` says why, by module path, for each of those leaves; some may be given.
    """

    def __init__(self, fixed: dict[str, Any], left: Mapping[str, str]) -> None:
        super().__init__()
        self.fixed = fixed
        self.left = dict(left)

    def create_args_for_root(self, *args: Any, **kwargs: Any) -> Any:
        function, values = super().create_args_for_root(*args, **kwargs)
        for position, value in enumerate(values):
            if isinstance(value, fx.Proxy) and value.node.target in self.fixed:
                name = str(value.node.target)
                fixed = self.fixed[name]
                if isinstance(fixed, Layout):
                    guard = self.create_proxy("call_function", require_layout, (value, fixed.text, name), {})
                    guard.node.meta[REASON] = f"it checks how argument {name!r} nests its values"
                    values[position] = fixed.open(value)
                else:
                    guard = self.create_proxy("call_function", require_fixed, (value, fixed, name), {})
                    guard.node.meta[REASON] = f"it checks that argument {name!r} stays {fixed!r}"
                    values[position] = fixed
        return function, values

    def create_arg(self, a: Any) -> Any:
        """What holds proxies in fields or in a dict of its own type is made anew when the graph runs."""
        if dataclasses.is_dataclass(a) and not isinstance(a, (type, fx.Proxy)):
            fields = {
                field.name: self.create_arg(getattr(a, field.name)) for field in dataclasses.fields(a) if field.init
            }
            return self.create_node("call_function", type(a), (), fields)
        if isinstance(a, dict) and type(a) not in PLAIN_DICTS:
            type(a)(dict(a))  # fails here, not when the graph runs, where that is no way to make one
            return self.create_node("call_function", type(a), (super().create_arg(dict(a)),), {})
        return super().create_arg(a)

    def create_node(self, kind: str, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(kind, *args, **kwargs)
        if kind.startswith("call_"):
            node.meta[LOCATION] = line_of(sys._getframe(1), trace.__code__)
        return node

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Tensors that an op splits its input into can be taken one by one where their number is known."""
        count = self.count(obj)
        return super().iter(obj) if count is None else (operator.getitem(obj, n) for n in range(count))

    def count(self, pieces: fx.Proxy) -> int | None:
        """Into how many tensors an op splits its input, if that is known; the graph checks it whenever it runs."""
        count = count_pieces(pieces.node)
        if count is not None:
            guard = self.create_proxy("call_function", require_pieces, (pieces, count), {})
            guard.node.meta[REASON] = f"it checks that there are {count} pieces"
            guard.node.meta[ASKS_FOR_SHAPE] = True
        return count

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """Like torch's own, which looks through all tensors of the root for each that is read."""
        holder, key, name = self.tensors.get(id(attr_val), ({}, "", ""))
        if attr_val is None or holder.get(key) is not attr_val:
            return super().getattr(attr, attr_val, parameter_proxy_cache)
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]

    @functools.cached_property
    def tensors(self) -> dict[int, tuple[Mapping[str, Any], str, str]]:
        """What holds each tensor whose reading makes a node, under which key, and its path; by ``id``."""
        found: dict[int, tuple[Mapping[str, Any], str, str]] = {}
        for kind in ("_parameters", "_buffers") if self.proxy_buffer_attributes else ("_parameters",):
            for path, module in self.root.named_modules():
                for key, tensor in getattr(module, kind).items():
                    name = f"{path}.{key}" if path else key
                    found.setdefault(id(tensor), (getattr(module, kind), key, name))
        return found

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return RecordingProxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_layer(m) or module_qualified_name in self.left

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        path = self.path_of_module(m)
        if (reason := own_behaviour(m)) and not is_layer(m):
            self.left.setdefault(path, reason)
        if self.is_leaf_module(m, path):
            return super().call_module(m, forward, args, kwargs)
        last, depth = next(iter(reversed(self.graph.nodes)), None), len(self.module_stack)
        before = random_states()
        try:
            with kept_random():
                result = super().call_module(m, forward, args, kwargs)
                if random_states() != before:
                    raise DrawsRandomError
            return result
        except Exception as error:
            self.left[path] = RANDOM if isinstance(error, DrawsRandomError) else why(error)
            for node in reversed(self.graph.nodes):
                if node is last:
                    break
                self.graph.erase_node(node)
            while len(self.module_stack) > depth:
                self.module_stack.popitem(last=True)
            return super().call_module(m, forward, args, kwargs)


def trace(
    module: nn.Module, fixed: dict[str, Any], kept: Mapping[str, str], follow_buffers: bool = True
) -> tuple[fx.GraphModule, dict[str, str]]:
    """Trace a module whose arguments ``fixed`` keep the values they have in the example.

    ``kept`` says, by path below ``module``, which modules are to be leaves and why.
    With ``follow_buffers``, what is done with buffers is part of the graph; without, it is done once, here.

    Returns:
        The graph module, and why each leaf that is no layer was left, by its path below ``module``.
    """
    tracer = Tracer(fixed, kept)
    tracer.proxy_buffer_attributes = follow_buffers
    graph = tracer.trace(module)
    for node in graph.nodes:
        if node.op == "call_module" and str(node.target) in tracer.left:
            node.meta[REASON] = tracer.left[str(node.target)]
    graph_module = fx.GraphModule(module, graph, type(module).__name__)
    called = {node.target for node in graph.nodes if node.op == "call_module"}
    left = {path: reason for path, reason in tracer.left.items() if path in called}
    # a tracer and its proxies refer to each other, and would hold the weights until a garbage collection
    vars(tracer).clear()
    return graph_module, left


def layer_graph(layer: nn.Module) -> fx.GraphModule:
    """A graph of one call, for a layer that untraceable code calls by itself."""
    graph = fx.Graph()
    call = graph.call_module("layer", (graph.placeholder("input"),))
    call.meta[STANDS_FOR_PART] = True
    graph.output(call)
    return fx.GraphModule({"layer": layer}, graph, type(layer).__name__)
