"""A lowered graph as Python: once as it reads, and once with everything bound that a call would look up."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules import module as torch_module

HOOKS = ("_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks")


# the attribute of ``Bound`` that holds the root
ROOT = "fxq_root"


class Bound:
    """What stands for ``self`` in the bound function: one attribute for each node that refers to something."""


class Program:
    """Two functions that compute the same, ``(self, *args, **kwargs)`` each; ``choose`` says which to run.

    In the first, a module is found by its path and called. In the second, ``forward`` of the module that stood there
    when the graph was compiled is called, and operators are called without their wrapper, which costs as much as a
    small kernel's arithmetic. So the second is for when that makes no difference: while each of these modules stands
    where it stood, no hook is registered on one of them, and none on all modules of the process. Every call checks
    this, in about 0.05 us per module. A module that has hooks already, or a way of its own to be called, is called in
    the second function as in the first.

    Args:
        graph: a graph whose modules and tensors are in place.
        root: the module that holds them; it is read only.

    Attributes:
        code: the Python of the first function.
    """

    def __init__(self, graph: fx.Graph, root: nn.Module) -> None:
        python = graph.python_code("self")
        self.code: str = python.src
        self._by_path = _compiled(python)
        bound, direct = Bound(), list[nn.Module]()
        python = _bound_graph(graph, root, bound, direct).python_code("self")
        self._bound, self._by_name = bound, _compiled(python)
        self._hooks = tuple(
            [getattr(module, kind) for module in direct for kind in HOOKS]
            + [getattr(torch_module, f"_global{kind}") for kind in HOOKS]
        )
        paths = sorted({str(node.target) for node in graph.nodes if node.op == "call_module"})
        self._found = _finder(paths, root)
        self._expected = self._found()

    def choose(self, root: nn.Module) -> tuple[Callable[..., Any], Any]:
        """The function to run for ``root`` now, and what to give it as ``self``."""
        try:
            if self._found() == self._expected and not any(self._hooks):
                return self._by_name, self._bound
        except KeyError:
            pass  # a module is gone; calling it will say so
        return self._by_path, root


def _compiled(python: Any) -> Callable[..., Any]:
    name = f"<fxq {hash(python.src):x}>"
    # so that tracebacks show the generated lines
    linecache.cache[name] = (len(python.src), None, python.src.splitlines(True), name)
    namespace: dict[str, Any] = dict(python.globals)
    exec(compile(python.src, name, "exec", dont_inherit=True), namespace)  # noqa: S102 (torch.fx generates Python)
    function: Callable[..., Any] = namespace["forward"]
    return function


def _bound_graph(graph: fx.Graph, root: nn.Module, bound: Bound, direct: list[nn.Module]) -> fx.Graph:
    """The same graph over attributes of ``bound``, named like their nodes; puts them there.

    Adds to ``direct`` the modules whose ``forward`` it calls.
    """
    twin, nodes = fx.Graph(), dict[fx.Node, fx.Node]()
    setattr(bound, ROOT, root)
    for node in graph.nodes:
        op, target = node.op, node.target
        if op == "get_attr":
            target = f"{ROOT}.{target}"
        elif op == "call_module":
            module = root.get_submodule(str(target))
            setattr(bound, node.name, module)
            target = node.name
            if _is_plain(module):
                direct.append(module)
                target = f"{node.name}.forward"
        elif isinstance(target, torch._ops.OpOverload):
            setattr(bound, node.name, target._op)
            op, target = "call_module", node.name
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), nodes.__getitem__)
        nodes[node] = twin.create_node(op, target, args, kwargs, node.name)
    return twin


def _is_plain(module: nn.Module) -> bool:
    """Whether calling a module only calls its ``forward``."""
    if isinstance(module, torch.jit.ScriptModule) or type(module).__call__ is not nn.Module.__call__:
        return False
    return not any(getattr(module, kind) for kind in HOOKS)


def _finder(paths: Iterable[str], root: nn.Module) -> Callable[[], tuple[nn.Module, ...]]:
    """A function that looks up the modules at all paths, and those that hold them; raises ``KeyError``."""
    holders: dict[str, int] = {}
    namespace: dict[str, Any] = {}
    items = list[str]()
    for path in paths:
        parents = path.split(".")
        for depth, name in enumerate(parents):
            holder = ".".join(parents[:depth])
            index = holders.setdefault(holder, len(holders))
            namespace[f"m{index}"] = root.get_submodule(holder)._modules
            items.append(f"m{index}[{name!r}],")
    # a tuple display is the fastest way to look up many things
    find: Callable[[], tuple[nn.Module, ...]] = eval(f"lambda: ({''.join(dict.fromkeys(items))})", namespace)
    return find
