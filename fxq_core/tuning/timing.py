"""Times steps where they stand: the model runs as it is, and each pass computes each step in another of its ways."""

from __future__ import annotations

import contextlib
import copy
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from torch import fx, nn

from fxq_core.prepare import plain
from fxq_core.quantized_module import QuantizedModule
from fxq_core.tuning.alternatives import Tunable, step_key

Clock = Callable[[], float]


class Rival:
    """A module with alternatives, ``names``; ``calls`` counts its calls in one pass by the key of the step.

    To switch a module costs more than to run it, so there is a twin for each alternative while they are timed.
    """

    def __init__(self, part: QuantizedModule, path: str, module: Any) -> None:
        self.part, self.path, self.module = part, path, module
        self.names: tuple[str, ...] = module.fxq_alternatives()
        self.calls = Counter[str]()
        self.twins = [module]

    def split(self) -> None:
        """Make the twins."""
        for name in self.names[1:]:
            twin = copy.deepcopy(self.module)
            twin.fxq_use(name)
            self.twins.append(twin)


class Stage:
    """Where the parts of a model run node by node.

    Attributes:
        rivals: the modules with alternatives, by ``id``, in graph order.
        timed: the steps to time; all others are computed as they are, and as long as there are none calls are counted.
        turn: the number of the pass; in each a step takes another of its ways, and neighbours do not take the same.
        samples: seconds by step and alternative.
    """

    def __init__(self, model: nn.Module, clock: Clock) -> None:
        self.clock = clock
        self.parts = [module for module in model.modules() if isinstance(module, QuantizedModule)]
        self.rivals: dict[int, Rival] = {}
        for part in self.parts:
            for node in part.fxq_graph.nodes:
                module: Any = part.get_submodule(str(node.target)) if node.op == "call_module" else None
                if isinstance(module, Tunable) and id(module) not in self.rivals:
                    self.rivals[id(module)] = Rival(part, str(node.target), module)
        self.timed: frozenset[str] = frozenset()
        self.turn = 0
        self.samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let the parts run on stage until it is left."""
        forwards = [part.forward for part in self.parts]
        try:
            for part in self.parts:
                part.forward = self._forward(part)
            yield
        finally:
            for part, forward in zip(self.parts, forwards, strict=True):
                part.forward = forward

    def _forward(self, part: QuantizedModule) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            bound = part._fxq_signature.bind(*args, **kwargs)
            bound.apply_defaults()
            with part._fxq_active():
                return plain(_Pass(part, self, bound.arguments).run())

        return forward

    def call(self, rival: Rival, place: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Compute a step, which is the ``place``-th of its part in this pass."""
        key = step_key(rival.module, args)
        if not self.timed:
            rival.calls[key] += 1
        if key not in self.timed:
            return rival.module(*args, **kwargs)
        index = (self.turn + place) % len(rival.twins)
        start = self.clock()
        result = rival.twins[index](*args, **kwargs)
        self.samples[key][rival.names[index]].append(self.clock() - start)
        return result

    def medians(self) -> dict[str, dict[str, float]]:
        """Microseconds by step and alternative."""
        return {
            key: {name: round(statistics.median(times) * 1e6, 3) for name, times in found.items()}
            for key, found in self.samples.items()
        }


class _Pass(fx.Interpreter):
    def __init__(self, part: QuantizedModule, stage: Stage, arguments: dict[str, Any]) -> None:
        super().__init__(part, graph=part.fxq_graph)
        self.extra_traceback = False
        self.stage, self.arguments, self.place = stage, arguments, 0

    def placeholder(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.arguments[target.lstrip("*")]

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module: Any = self.fetch_attr(target)
        rival = self.stage.rivals.get(id(module))
        if rival is None:
            return module(*args, **kwargs)
        self.place += 1
        return self.stage.call(rival, self.place, args, kwargs)
