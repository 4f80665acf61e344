"""Times steps where they stand: the model runs as it is, but for a few steps that are computed in another way."""

from __future__ import annotations

import contextlib
import copy
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from torch import fx, nn

from fxq_core.prepare import plain
from fxq_core.quantized_module import QuantizedModule
from fxq_core.tuning.alternatives import Tunable, step_key

Clock = Callable[[], float]
# of so many steps in a row one is computed in another way, and the one in the middle is timed as it is
APART = 4


class Site:
    """One call of a module in a pass: ``own`` are its seconds in the way in use, ``spans`` those until the step after
    it has ended, by way: a way may cost the next step more than it saves, by what it leaves in the caches.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.own: list[float] = []
        self.spans: dict[str, list[float]] = defaultdict(list)

    def costs(self, in_use: str) -> dict[str, float]:
        """Microseconds by way: for another than the one in use, with what it costs the next step.

        Of a difference only what exceeds two standard errors counts, so that chance changes nothing.
        """
        own, (base, base_error) = statistics.median(self.own), _median(self.spans[in_use])
        found = {}
        for name, spans in self.spans.items():
            median, error = _median(spans)
            difference = math.copysign(max(abs(median - base) - 2 * math.hypot(error, base_error), 0.0), median - base)
            found[name] = max(own + difference, 0.0) * 1e6
        return found


def _median(values: list[float]) -> tuple[float, float]:
    """The median, and its standard error as the median absolute deviation estimates it for normal errors."""
    median = statistics.median(values)
    deviation = statistics.median(abs(value - median) for value in values)
    return median, 1.2533 * 1.4826 * deviation / math.sqrt(len(values))


class Rival:
    """A module that can compute its step in several ways, ``names``, the first of them in use.

    To switch a module costs more than to run it, so there is a twin for each way while they are timed; also for the
    way in use, for a kernel may be slower on other shapes than those it ran on first.
    """

    def __init__(self, part: QuantizedModule, path: str, module: Any) -> None:
        self.part, self.path, self.module = part, path, module
        self.names: tuple[str, ...] = module.fxq_alternatives()
        self.sites: list[Site] = []
        self.twins: list[Any] = []
        self.calls = 0

    def split(self) -> None:
        """Make the twins."""
        for name in self.names:
            twin = copy.deepcopy(self.module)
            twin.fxq_use(name)
            self.twins.append(twin)


class Stage:
    """Where the parts of a model run node by node: once to see what is called, then to time rivals with twins.

    ``rivals`` are in graph order.
    """

    def __init__(self, model: nn.Module, clock: Clock) -> None:
        self.clock = clock
        self.parts = [module for module in model.modules() if isinstance(module, QuantizedModule)]
        rivals: dict[int, Rival] = {}
        for part in self.parts:
            for node in part.fxq_graph.nodes:
                module: Any = part.get_submodule(str(node.target)) if node.op == "call_module" else None
                if isinstance(module, Tunable) and id(module) not in rivals:
                    rivals[id(module)] = Rival(part, str(node.target), module)
        self.rivals, self._by_id = list(rivals.values()), rivals
        self._place, self._passes = 0, -1
        self._open: tuple[list[float], float] | None = None

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

    @contextlib.contextmanager
    def one_pass(self) -> Iterator[None]:
        """One run of the model; each takes other steps for other ways."""
        self._place, self._passes = 0, self._passes + 1
        for rival in self.rivals:
            rival.calls = 0
        yield
        self._close()

    def forget(self) -> None:
        """Drop what was timed so far."""
        for site in (site for rival in self.rivals for site in rival.sites):
            site.own.clear()
            site.spans.clear()

    def call(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Compute what may be a step with alternatives."""
        rival = self._by_id.get(id(module))
        if rival is None:
            return module(*args, **kwargs)
        number, rival.calls = rival.calls, rival.calls + 1
        if self._passes == 0:
            rival.sites.append(Site(step_key(module, args)))
            return module(*args, **kwargs)
        self._place += 1
        turn, phase = divmod(self._passes + self._place, APART)
        way = 1 + turn % (len(rival.twins) - 1) if phase == 0 and rival.twins else 0
        start = self.clock()
        result = (rival.twins[way] if rival.twins else module)(*args, **kwargs)
        end = self.clock()
        self._close(end)
        if number < len(rival.sites) and (way or phase == APART // 2):
            site = rival.sites[number]
            if not way:
                site.own.append(end - start)
            self._open = (site.spans[rival.names[way]], start)
        return result

    def _close(self, end: float | None = None) -> None:
        """A step has ended, which ends the span of the step before it."""
        if self._open is not None:
            spans, start = self._open
            spans.append((self.clock() if end is None else end) - start)
            self._open = None

    def costs(self, rivals: list[Rival]) -> dict[str, dict[str, float]]:
        """Microseconds by the key of a step and by way: the mean over all calls like it."""
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for rival in rivals:
            for site in rival.sites:
                if site.own and site.spans.keys() == set(rival.names):
                    for name, cost in site.costs(rival.names[0]).items():
                        found[site.key][name].append(cost)
        return {key: {n: round(statistics.fmean(c), 3) for n, c in ways.items()} for key, ways in found.items()}


class _Pass(fx.Interpreter):
    def __init__(self, part: QuantizedModule, stage: Stage, arguments: dict[str, Any]) -> None:
        super().__init__(part, graph=part.fxq_graph)
        self.extra_traceback = False
        self.stage, self.arguments = stage, arguments

    def placeholder(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.arguments[target.lstrip("*")]

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.stage.call(self.fetch_attr(target), args, kwargs)
