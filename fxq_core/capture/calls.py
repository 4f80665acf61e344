"""What the example passes to each submodule, so that flags and absent arguments can be fixed in a trace."""

from __future__ import annotations

import contextlib
import copy
import inspect
import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from fxq_core.capture.containers import Layout, layout_of

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
# what decides the way through a forward, and what seldom does
FLAGS = (bool, str, type(None))
NUMBERS = (int, float)
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# the attributes that every module has, its tensors and children among them
MACHINERY = frozenset(vars(nn.Module()))


def as_arguments(batch: Any) -> Arguments:
    """One batch as arguments: a dict of keyword arguments, a tuple or list of positional ones, or a lone value."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return tuple(batch), {}
    return (batch,), {}


def cloned(arguments: Arguments) -> Arguments:
    """The same arguments in memory of their own: a model may write into its inputs."""
    args, kwargs = tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, arguments)
    return args, kwargs


@contextlib.contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """Leave a module's buffers as they were: trying a model out must not change what it remembers."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            if not torch.equal(buffer, value):
                buffer.copy_(value)


@contextlib.contextmanager
def kept_attributes(module: nn.Module) -> Iterator[Callable[[], bool]]:
    """Leave what every module holds as it was: a forward, and more so a trace of one, may store what it computes.

    Yields what tells whether the lists, dicts and sets among the attributes still hold what they did.
    """
    before = [(m, [(held, dict(held)) for held in (vars(m), m._buffers, m._modules)]) for m in module.modules()]
    own = [value for m in module.modules() for name, value in vars(m).items() if name not in MACHINERY]
    filled = {id(c): (c, copy.copy(c)) for value in own for c in _containers(value)}

    def unchanged() -> bool:
        return all(_identities(container) == _identities(kept) for container, kept in filled.values())

    try:
        yield unchanged
    finally:
        for _, dicts in before:
            for held, items in dicts:
                held.clear()
                held.update(items)
        if not unchanged():
            for container, kept in filled.values():
                container.clear()
                container.extend(kept) if isinstance(container, (list, deque)) else container.update(kept)


def _containers(value: Any) -> Iterator[Any]:
    """The lists, dicts and sets in a value, itself among them."""
    if type(value) in (list, dict, set, deque, OrderedDict, defaultdict):
        yield value
    if type(value) in (list, tuple, dict, deque, OrderedDict, defaultdict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _containers(item)


def _identities(container: Any) -> list[Any]:
    return [(id(k), id(v)) for k, v in container.items()] if isinstance(container, dict) else list(map(id, container))


@contextlib.contextmanager
def kept_random() -> Iterator[None]:
    """Leave the random states of torch and of Python as they were."""
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(state)


def random_states() -> tuple[Any, ...]:
    """The states of Python's and torch's random numbers, comparable."""
    return random.getstate(), bytes(torch.get_rng_state().tolist())


def fixed_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What of one call's arguments a trace may rely on: flags and numbers, given or not, and how containers nest."""
    signature = inspect.signature(module.forward)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    fixed: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if isinstance(value, FLAGS + NUMBERS):
            fixed[name] = value
        elif signature.parameters[name].kind not in VARIADIC and (layout := layout_of(value)):
            fixed[name] = layout
    return fixed


def positional(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of a call in the order of the parameters, with defaults, as an interpreter takes them."""
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


class CallLog:
    """Watches the calls of every submodule while it is entered; keeps no tensor, and no module once it is left.

    ``fixed`` holds the arguments without tensors by module path, ``varies`` why they are not fixed after all, and
    ``several`` the paths of modules that were called with more than one positional argument.
    """

    def __init__(self, root: nn.Module) -> None:
        self._modules = {path: module for path, module in root.named_modules(remove_duplicate=False) if path}
        self.fixed: dict[str, dict[str, Any]] = {}
        self.varies: dict[str, str] = {}
        self.several: set[str] = set()
        self._kinds: dict[str, list[tuple[int, torch.dtype]]] = {}

    def __enter__(self) -> CallLog:
        self._handles = [
            module.register_forward_pre_hook(self._hook(path), with_kwargs=True)
            for path, module in self._modules.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._modules.clear()

    def _hook(self, path: str) -> Any:
        def log(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if len(args) != 1 or kwargs:
                self.several.add(path)
            fixed = fixed_arguments(module, args, kwargs)
            first = self.fixed.setdefault(path, fixed)
            flags, now = ({n: v for n, v in call.items() if isinstance(v, (*FLAGS, Layout))} for call in (first, fixed))
            if flags != now:
                name = next(n for n in {**flags, **now} if flags.get(n, log) != now.get(n, log))
                self.varies[path] = f"it is called with different values of argument {name!r}"
            kinds = [(leaf.dim(), leaf.dtype) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            if self._kinds.setdefault(path, kinds) != kinds:
                self.varies[path] = "it is called with tensors of different ranks or dtypes"

        return log
