"""The records that plugins hand to the core: frozen data, checked when made, acted on by the core."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Union

import torch
from torch import fx, nn

from fxq_core.checks import FLAG, FUNCTION, MAYBE_FUNCTION, NAME, NUMBER, check

if TYPE_CHECKING:
    from fxq_core.context import LoweringContext
    from fxq_core.observers.base import Observer

# One way to write an operation: a module type (matched exactly, a subclass may override forward),
# a function as the graph calls it, or the name of a tensor method.
Op = Union[type[nn.Module], Callable[..., Any], str]


@dataclass(frozen=True, slots=True)
class Provider:
    """Who a record comes from; filled in by discovery, never by the plugin."""

    dist: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.dist} {self.version}".strip()


NOBODY = Provider("an unregistered record", "", "")


@dataclass(frozen=True, slots=True)
class QSpec:
    """What an engine wants of a quantized tensor, before any data is seen.

    Args:
        dtype: a plain integer dtype, such as ``torch.uint8``.
        qmin: the lowest code in use.
        qmax: the highest code in use, inclusive.
        symmetric: whether the zero point is fixed at 0.
        axis: the channel axis that has one scale per index, or None for one scale per tensor.
        observer: the name of the observer that finds the range.
    """

    dtype: torch.dtype
    qmin: int
    qmax: int
    symmetric: bool
    axis: int | None
    observer: str

    def __post_init__(self) -> None:
        check(self, dtype=torch.dtype, qmin=NUMBER, qmax=NUMBER, symmetric=FLAG, observer=str)
        check(self, axis=(int, type(None)))
        info = torch.iinfo(self.dtype)
        if not info.min <= self.qmin < self.qmax <= info.max:
            raise ValueError(f"codes {self.qmin} to {self.qmax} do not fit {self.dtype}")
        if not self.qmin <= 0 <= self.qmax and self.symmetric:
            raise ValueError("a symmetric range must hold code 0")


@dataclass(frozen=True, slots=True)
class QParams:
    """What calibration found: ``real = (code - zero_point) * scale``; unpacks to scale, zero_point.

    ``scale`` and ``zero_point`` are a float and an int for a whole tensor, and for one scale per
    channel a float32 and an int64 tensor of shape ``(channels,)``. ``qmin`` and ``qmax`` are those of the ``QSpec``.
    """

    scale: Any
    zero_point: Any
    qmin: int
    qmax: int

    def __iter__(self) -> Iterator[Any]:
        return iter((self.scale, self.zero_point))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A chain of operations that can be quantized as one.

    Args:
        name: how lowerings refer to it.
        ops: in data-flow order: one op, a set of ops ("any of these spellings"), or a tuple of those;
            ``()`` for an op that no graph spells and only the core inserts.
        priority: breaks a tie between patterns that match exactly the same nodes.
        shares_qparams: the op only moves, selects or averages values, so its output keeps the
            qparams of its inputs.
        reject: called with each match; a sentence says why it can't be quantized, None accepts.
        weight_only: only the weight becomes int8; the op takes and gives the numbers that it does in float.
    """

    name: str
    ops: Any
    _: KW_ONLY
    priority: int = 0
    shares_qparams: bool = False
    reject: Callable[[Match], str | None] | None = None
    weight_only: bool = False
    provider: Provider = field(default=NOBODY, compare=False, repr=False)

    def __post_init__(self) -> None:
        chain = self.ops if isinstance(self.ops, tuple) else (self.ops,)
        steps = tuple(frozenset(step) if _is_set(step) else frozenset({step}) for step in chain)
        if not isinstance(self.name, str) or not self.name or not all(steps):
            raise ValueError("a pattern needs a name and at least one spelling for each of its ops")
        for spelling in frozenset[Any]().union(*steps):
            if not isinstance(spelling, str) and not callable(spelling):
                raise ValueError(f"{spelling!r} is no module type, function or method name")
        object.__setattr__(self, "ops", steps)
        check(self, name=NAME, priority=NUMBER, shares_qparams=FLAG, weight_only=FLAG, reject=MAYBE_FUNCTION)


def _is_set(step: Any) -> bool:
    return isinstance(step, Collection) and not isinstance(step, (str, type))


@dataclass(frozen=True, slots=True)
class Match:
    """Where a pattern stands in a graph.

    ``nodes`` are where ``pattern`` stands, in data-flow order, and ``modules`` are aligned with them (None where a node
    calls no module). ``inputs`` are the float tensors that enter from outside, in argument order, repeated where an op
    takes the same value twice.
    """

    pattern: Pattern
    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    modules: tuple[nn.Module | None, ...]

    @property
    def output(self) -> fx.Node:
        """The node that holds the result: the last one."""
        return self.nodes[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Something that runs quantized ops.

    Args:
        name: how users choose it, unique among all installed engines.
        family: the family whose lowerings it also accepts, such as ``"torch"``.
        activation: what it wants of activations.
        weight: what it wants of weights.
        active: makes the context in which its ops are packed and run; pickled by reference.
        reject: says in a sentence why the engine can't run here, or returns None.
        finish: may take the whole lowered module and return another one; an attribute ``fxq_note``, a sentence, of a
            module of it becomes a note of the report.
    """

    name: str
    family: str
    activation: QSpec
    weight: QSpec
    active: Callable[[], AbstractContextManager[Any]]
    reject: Callable[[], str | None]
    finish: Callable[[nn.Module], nn.Module] | None = None
    provider: Provider = field(default=NOBODY, compare=False, repr=False)

    def __post_init__(self) -> None:
        check(self, name=NAME, family=NAME, activation=QSpec, weight=QSpec)
        check(self, active=FUNCTION, reject=FUNCTION, finish=MAYBE_FUNCTION)


@dataclass(frozen=True, slots=True)
class ObserverSpec:
    """A named way to find the range of a tensor.

    Args:
        name: how engines and configs refer to it.
        build: makes a fresh observer for a ``QSpec``, such as a subclass of ``Observer`` does.
    """

    name: str
    build: Callable[[QSpec], Observer]
    provider: Provider = field(default=NOBODY, compare=False, repr=False)

    def __post_init__(self) -> None:
        check(self, name=NAME, build=FUNCTION)


class Emit(Protocol):
    """What an emitter is: called as ``emit(match, ctx)``, it adds the nodes that compute the match to the lowered graph
    and returns the one that holds the result.
    """

    def __call__(self, match: Match, ctx: LoweringContext) -> fx.Node: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """How one engine, or a family of engines, computes a pattern.

    Args:
        engine: an engine's name, or a family; an engine's own lowering wins over its family's.
        pattern: a pattern's name, or ``"*"`` for every pattern without a lowering of its own.
        emit: adds the nodes; it can't decline.
        priority: breaks a tie between two lowerings of one pattern for one engine.
        reject: called with each match while planning; a sentence says why not, None accepts.
        output: the output's qparams where the op fixes them, such as 1/256 and 0 for a sigmoid.
        in_float: the op is computed in float, between conversions of its own; so it pays only between int8 neighbours.
    """

    engine: str
    pattern: str
    emit: Emit
    priority: int = 0
    reject: Callable[[Match], str | None] | None = None
    output: QParams | None = None
    in_float: bool = False
    provider: Provider = field(default=NOBODY, compare=False, repr=False)

    def __post_init__(self) -> None:
        check(self, engine=NAME, pattern=NAME, emit=FUNCTION, priority=NUMBER, reject=MAYBE_FUNCTION, in_float=FLAG)
        check(self, output=(QParams, type(None)))
