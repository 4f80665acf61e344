"""A lowered graph as Python: once as it reads, and once with everything bound that a call would look up."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import fx, nn
from torch.nn.modules import module as torch_module
from torch.utils.hooks import RemovableHandle

from fxq_core.binding import HOOKS, Binding
from fxq_core.watched import CHANGES, Watched

NEVER = (-1, -1)


class Program:
    """Two functions that compute the same, ``(self, *args, **kwargs)`` each; ``choose`` says which to run.

    In the first, a module is found by its path and called. In the second, ``forward`` of the module that stood there
    when the graph was compiled is called, and operators are called without their wrapper, which costs as much as a
    small kernel's arithmetic. So the second is for when that makes no difference: while each of these modules stands
    where it stood, no hook is registered on one of them, and none on all modules of the process. A module that has
    hooks already, or a way of its own to be called, is called in the second function as in the first.

    To look at them all in every call would cost more than it saves: nothing of it is in the processor's cache by then.
    So they are looked at when something may have changed: a hook was registered on any module, of which torch keeps
    count, or ``watched.changed`` was called.

    A module that checks its inputs may have two more methods: ``fxq_trusts(other)`` says whether what module
    ``other`` gives needs no check, and ``fxq_unchecked`` is what is then called for ``forward`` where ``other`` feeds
    it. Such a module calls ``changed`` when one of its attributes is set.

    Args:
        graph: a graph whose modules and tensors are in place.
        root: the module that holds them; the dicts of submodules on the way to them become ``Watched``.

    Attributes:
        code: the Python of the first function.
    """

    def __init__(self, graph: fx.Graph, root: nn.Module) -> None:
        python, binding = graph.python_code("self"), Binding(graph, root)
        self.code: str = python.src
        self._by_path = _compiled(python)
        self._bound, self._names = _compiled(binding.graph.python_code("self")), binding.names
        self._trusting = tuple(binding.trusting)
        self._hooks = tuple(
            [getattr(module, kind) for module in binding.plain for kind in HOOKS]
            + [getattr(torch_module, f"_global{kind}") for kind in HOOKS]
        )
        self._places = tuple(_places((str(node.target) for node in graph.nodes if node.op == "call_module"), root))
        self._looked = NEVER

    def choose(self, root: nn.Module) -> tuple[Callable[..., Any], Any]:
        """The function to run for ``root`` now, and what to give it as ``self``."""
        now = (RemovableHandle.next_id, CHANGES.count)
        if now != self._looked:
            if not self._intact():
                # looked at again in the next call: that a hook is removed is not counted
                return self._by_path, root
            self._looked = now
        return self._bound, self._names

    def _intact(self) -> bool:
        return (
            not any(self._hooks)
            and all(holder.get(name) is module for holder, name, module in self._places)
            and not any("forward" in vars(module) for pair in self._trusting for module in pair)
            and all(module.fxq_trusts(other) for module, other in self._trusting)
        )


def _compiled(python: Any) -> Callable[..., Any]:
    name = f"<fxq {hash(python.src):x}>"
    # so that tracebacks show the generated lines
    linecache.cache[name] = (len(python.src), None, python.src.splitlines(True), name)
    namespace: dict[str, Any] = dict(python.globals)
    exec(compile(python.src, name, "exec", dont_inherit=True), namespace)  # noqa: S102 (torch.fx generates Python)
    function: Callable[..., Any] = namespace["forward"]
    return function


def _places(paths: Iterable[str], root: nn.Module) -> Iterator[tuple[Watched, str, nn.Module]]:
    """The modules at all paths and those that hold them, each with its name in the dict that holds it."""
    prefixes = ((names[:-1], names[-1]) for path in paths for names in _prefixes(path))
    for parents, name in dict.fromkeys(prefixes):
        holder = root.get_submodule(".".join(parents))
        if not isinstance(holder._modules, Watched):
            holder._modules = Watched(holder._modules)
        yield holder._modules, name, holder.get_submodule(name)


def _prefixes(path: str) -> Iterator[tuple[str, ...]]:
    """``a.b.c`` gives ``("a",)``, ``("a", "b")`` and ``("a", "b", "c")``."""
    names = tuple(path.split("."))
    return (names[:depth] for depth in range(1, len(names) + 1))
