"""The result: a module that runs a lowered graph, whatever process, thread or engine it wakes up in."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxq_core.dtypes import CONVERT, unfit
from fxq_core.errors import FxqError, InputError, one_line
from fxq_core.program import Program
from fxq_core.types import QParams

# in a node's meta: the name of the node of the float graph whose value it holds
SOURCE = "fxq_source"


class Scale(float):
    """A scale in a lowered graph, which knows its row in the module's table of qparams."""

    group: int

    def __new__(cls, value: float, group: int) -> Scale:
        self = super().__new__(cls, value)
        self.group = group
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Scale, (float(self), self.group)

    __repr__ = float.__repr__


class ZeroPoint(int):
    """A zero point in a lowered graph, which knows its row in the module's table of qparams."""

    group: int

    def __new__(cls, value: int, group: int) -> ZeroPoint:
        self = super().__new__(cls, value)
        self.group = group
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return ZeroPoint, (int(self), self.group)

    __repr__ = int.__repr__


class QuantizedModule(nn.Module):
    """Runs a lowered graph inside its engine.

    Submodules stand at the paths they had in the float model. The qparams of activations are literals in the generated
    code and, as the truth, the buffers ``fxq_scale`` (float32) and ``fxq_zero_point`` (int32), one row per
    group of values: loading a state dict of another calibration rewrites the literals. Copies and pickles
    carry the graph as plain data and compile it again.

    While no submodule was replaced since, and none that the graph calls has hooks, kernels are called with what they
    take bound, and ``forward`` of a submodule without ``__call__`` around it; see ``Program``. Otherwise the graph
    runs as ``fxq_code`` reads.

    Attributes:
        fxq_graph: the lowered ``fx.Graph``; ``fxq_code`` is its Python.
        fxq_engine: the engine's name.
        fxq_part: the path of the module it stands for.

    All names of its own start with ``fxq``: the others belong to the model.
    """

    fxq_scale: torch.Tensor
    fxq_zero_point: torch.Tensor

    def __init__(
        self,
        part: str,
        signature: inspect.Signature,
        engine: str,
        active: Callable[[], AbstractContextManager[Any]],
        qparams: Mapping[int, QParams],
    ) -> None:
        super().__init__()
        self.eval()
        self.fxq_part, self._fxq_signature = part, signature
        self.fxq_engine, self._fxq_active = engine, active
        found = qparams.values()
        self._fxq_codes = min((q.qmin for q in found), default=0), max((q.qmax for q in found), default=0)
        rows = range(max(qparams, default=-1) + 1)
        scales = [float(qparams[row].scale) if row in qparams else 1.0 for row in rows]
        zero_points = [int(qparams[row].zero_point) if row in qparams else 0 for row in rows]
        self.register_buffer("fxq_scale", torch.tensor(scales, dtype=torch.float32))
        self.register_buffer("fxq_zero_point", torch.tensor(zero_points, dtype=torch.int32))

    def fxq_set_graph(self, graph: fx.Graph) -> None:
        """Check, compile and adopt a graph whose modules and tensors are in place."""
        self.fxq_graph = graph
        self._fxq_compile()

    def _fxq_compile(self) -> None:
        self.fxq_graph.lint()
        program, active = Program(self.fxq_graph, self), self._fxq_active
        self.fxq_code = program.code

        def forward(self: QuantizedModule, *args: Any, **kwargs: Any) -> Any:
            try:
                run, self_ = program.choose(self)
                with active():
                    return run(self_, *args, **kwargs)
            except FxqError:
                raise
            except Exception as error:
                # what torch's kernels raise; a module that stayed as it is may raise whatever else it likes
                if type(error) in (RuntimeError, NotImplementedError):
                    raise InputError(self._fxq_unfit(args, kwargs, error)) from error
                raise

        self_ = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        parameters = (self_, *self._fxq_signature.parameters.values())
        function: Any = forward
        function.__signature__ = self._fxq_signature.replace(parameters=parameters)
        self.forward = types.MethodType(function, self)

    def _fxq_unfit(self, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> str:
        """What a kernel's error is about."""
        if self.fxq_scale.dtype is not torch.float32:
            return f"the quantized model was converted to {self.fxq_scale.dtype}; {CONVERT}"
        refused = f"the quantized model refused its input ({one_line(error)}); give it inputs like the example"
        return unfit(args, kwargs) or refused

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in ("forward", "fxq_graph", "fxq_code")}
        return {**state, "_fxq_nodes": dump(self.fxq_graph)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        nodes = state.pop("_fxq_nodes")
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.fxq_graph = restore(nodes)
        self._fxq_compile()

    def _fxq_sound(self) -> bool:
        """Whether kernels can take the qparams."""
        scales, zero_points, (low, high) = self.fxq_scale, self.fxq_zero_point, self._fxq_codes
        fit = (scales > 0) & scales.isfinite() & (zero_points >= low) & (zero_points <= high)
        return bool(fit.all())

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        before = self.fxq_scale.clone(), self.fxq_zero_point.clone()
        super()._load_from_state_dict(*args, **kwargs)
        if not self._fxq_sound():
            for buffer, value in zip((self.fxq_scale, self.fxq_zero_point), before, strict=True):
                buffer.copy_(value)
            raise InputError(
                f"the state's qparams for {self.fxq_part or 'the root'!r} have scales that are not positive and finite "
                "or zero points that are no codes; load what state_dict() of a quantized model gave"
            )
        scales, zero_points = self.fxq_scale.tolist(), self.fxq_zero_point.tolist()

        def refresh(value: Any) -> Any:
            if isinstance(value, Scale):
                return Scale(scales[value.group], value.group)
            return ZeroPoint(zero_points[value.group], value.group) if isinstance(value, ZeroPoint) else value

        for node in self.fxq_graph.nodes:
            node.args = fx.node.map_aggregate(node.args, refresh)
            node.kwargs = fx.node.map_aggregate(node.kwargs, refresh)
        self._fxq_compile()


class NodeName(str):
    """Stands for a node where a graph is plain data."""

    __slots__ = ()


class OperatorName(NamedTuple):
    """Stands for a ``torch.ops`` operator, which pickle does not take."""

    packet: str
    overload: str


class FunctionName(NamedTuple):
    """Stands for a function that its module holds under its own name, but that pickle looks for elsewhere.

    Such are the functions of ``torch.nn.functional`` that choose between two, like ``max_pool2d``.
    """

    module: str
    name: str


def dump(graph: fx.Graph) -> list[tuple[Any, ...]]:
    """A graph as plain data: nodes and operators by name, everything else as pickle takes it."""

    def plain(value: Any) -> Any:
        return NodeName(value.name) if isinstance(value, fx.Node) else value

    rows = []
    for node in graph.nodes:
        args, kwargs = fx.node.map_aggregate(node.args, plain), fx.node.map_aggregate(node.kwargs, plain)
        target: Any = node.target
        if isinstance(target, torch._ops.OpOverloadPacket):
            target = OperatorName(target._qualified_op_name, "")
        elif isinstance(target, torch._ops.OpOverload):
            target = OperatorName(target.overloadpacket._qualified_op_name, target._overloadname)
        elif "<locals>" in getattr(target, "__qualname__", ""):
            home = FunctionName(target.__module__, target.__name__)
            target = home if getattr(sys.modules.get(home.module), home.name, None) is target else target
        rows.append((node.op, node.name, target, args, kwargs, node.meta.get(SOURCE)))
    return rows


def restore(rows: Sequence[tuple[Any, ...]]) -> fx.Graph:
    """The graph that ``dump`` took apart."""
    graph, nodes = fx.Graph(), dict[str, fx.Node]()

    def linked(value: Any) -> Any:
        return nodes[value] if isinstance(value, NodeName) else value

    for op, name, target, args, kwargs, source in rows:
        if isinstance(target, OperatorName):
            namespace, operator = target.packet.split("::")
            target_: Any = getattr(getattr(torch.ops, namespace), operator)
            target = getattr(target_, target.overload) if target.overload else target_
        elif isinstance(target, FunctionName):
            target = getattr(sys.modules[target.module], target.name)
        args, kwargs = fx.node.map_aggregate(args, linked), fx.node.map_aggregate(kwargs, linked)
        nodes[name] = graph.create_node(op, target, args, kwargs, name=name)
        if source is not None:
            nodes[name].meta[SOURCE] = source
    return graph
