"""Capture: a copy of the model as graphs that compute the same, ready for matching.

Copy, check, trace, one form per layer, in-place ops made functional, batch norm folded, values recorded.
Where the root, or a module in it, can't be traced, that module stays as it is and each traceable part
below it becomes a graph of its own.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from fxq_core.capture.calls import Arguments, CallLog, cloned, fixed_arguments, positional
from fxq_core.capture.canonical import bake, canonicalize
from fxq_core.capture.checks import check_arguments, check_model
from fxq_core.capture.folding import fold_batch_norms
from fxq_core.capture.graphs import put
from fxq_core.capture.inplace import functionalize
from fxq_core.capture.tracer import has_hooks, is_layer, layer_graph, trace, why
from fxq_core.capture.values import ValueRecorder
from fxq_core.errors import CaptureError

OTHER_NUMBERS = "its trace computes other numbers than the module itself, so it depends on more than its inputs"

ATTRIBUTES = "fxq_attributes"
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")


@dataclass(frozen=True, slots=True)
class Captured:
    """A captured model.

    ``root`` is the copy of the model in which every part is a graph module; ``parts`` holds them by
    path, "" being the root itself. ``left`` says why a module was left as it is, and ``folded`` what
    became of a module that is gone, both by path.
    """

    root: nn.Module
    parts: dict[str, fx.GraphModule]
    left: dict[str, str]
    folded: dict[str, str]


def capture(model: nn.Module, example: Arguments) -> Captured:
    """Capture ``model`` as it runs on ``example``; the model and the example stay as they are.

    Raises:
        CaptureError: not a module, in train mode, not float32 on a CPU, or the example does not fit.
    """
    check_model(model)
    check_arguments(example)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        root = _copied(model)
        with CallLog(root) as log:
            expected = _run(root, example)
        for root_reason in ("", OTHER_NUMBERS):
            captured = _Capturer(root, log, example, root_reason).capture()
            if _same(_attempt(captured.root, example), expected):
                return _refine(captured, example)
            root = _copied(model)
        return Captured(root, {}, {"": OTHER_NUMBERS}, {})


def _copied(model: nn.Module) -> nn.Module:
    try:
        copied = copy.deepcopy(model)
    except Exception as error:
        raise CaptureError(
            f"{type(model).__name__} can't be copied ({type(error).__name__}: {error}); "
            "make copy.deepcopy(model) work first"
        ) from error
    bake(copied)
    return copied


class _Capturer:
    """Turns a copy of a model into graphs, from the root down."""

    def __init__(self, root: nn.Module, log: CallLog, example: Arguments, root_reason: str) -> None:
        self.root, self.log, self.example, self.root_reason = root, log, example, root_reason
        self.parts: dict[str, fx.GraphModule] = {}
        self.left: dict[str, str] = {}

    def capture(self) -> Captured:
        self._enter("", self.root)
        return Captured(self.root, self.parts, self.left, {})

    def _enter(self, path: str, module: nn.Module) -> None:
        called = not path or path in self.log.fixed
        if not called and not any(other.startswith(f"{path}.") for other in self.log.fixed):
            self.left[path] = "the example never reached it"
            return
        if called and (reason := self._trace(path, module)):
            self.left[path] = reason
            called = False
        if not called and not (path and is_layer(module)):
            for name, child in list(module.named_children()):
                self._enter(f"{path}.{name}" if path else name, child)

    def _trace(self, path: str, module: nn.Module) -> str | None:
        """Make the module at ``path`` a part; or say why that is not possible."""
        if not path and self.root_reason:
            return self.root_reason
        if path and has_hooks(module):
            return "it has forward hooks, which are kept"
        if path in self.log.varies:
            return self.log.varies[path]
        if is_layer(module):
            part, leaves = layer_graph(module), dict[str, str]()
        else:
            fixed = self.log.fixed[path] if path else fixed_arguments(module, *self.example)
            try:
                part, leaves = trace(module, fixed)
            except Exception as error:
                return why(error)
        self.parts[path] = part
        _keep_attributes(module, part)
        if path:
            put(self.root, path, part)
        else:
            self.root = part
        for leaf, reason in leaves.items():
            below = f"{path}.{leaf}" if path else leaf
            self.left[below] = reason
            for name, child in list(part.get_submodule(leaf).named_children()):
                self._enter(f"{below}.{name}", child)
        return None


def _keep_attributes(module: nn.Module, part: fx.GraphModule) -> None:
    """What users can reach on a module, its own attributes and a root's hooks, stays reachable."""
    machinery = vars(nn.Module())
    part.meta[ATTRIBUTES] = {name: value for name, value in vars(module).items() if name not in machinery}
    for name, value in part.meta[ATTRIBUTES].items():
        if not hasattr(part, name):
            setattr(part, name, value)
    # a lone layer is called by its part, and keeps its hooks itself
    for name in () if is_layer(module) else HOOKS:
        setattr(part, name, copy.copy(getattr(module, name)))


def _run(model: nn.Module, example: Arguments) -> Any:
    args, kwargs = cloned(example)
    try:
        return model(*args, **kwargs)
    except Exception as error:
        raise CaptureError(
            f"{type(model).__name__} refused the example inputs ({type(error).__name__}: {error}); "
            "give one batch: a tensor, a tuple of arguments or a dict of keyword arguments"
        ) from error


def _attempt(root: nn.Module, example: Arguments) -> Any:
    try:
        return _run(root, example)
    except CaptureError:
        return None


def _same(result: Any, expected: Any) -> bool:
    got, wanted = tree_leaves(result), tree_leaves(expected)
    return type(result) is type(expected) and len(got) == len(wanted) and all(map(_equal, got, wanted))


def _equal(got: Any, wanted: Any) -> bool:
    if not isinstance(got, torch.Tensor) or not isinstance(wanted, torch.Tensor):
        return type(got) is type(wanted)
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return False
    return torch.allclose(got, wanted, rtol=1e-3, atol=1e-5, equal_nan=True)


def _refine(captured: Captured, example: Arguments) -> Captured:
    """Bring every part to the form that patterns are written for."""
    _record(captured, example)
    folded: dict[str, str] = {}
    for path, part in captured.parts.items():
        canonicalize(part)
        functionalize(part)
        for name, fate in fold_batch_norms(part).items():
            folded[f"{path}.{name}" if path else name] = fate
        part.graph.lint()
        part.recompile()
        part.delete_all_unused_submodules()
    _record(captured, example)
    return Captured(captured.root, captured.parts, captured.left, folded)


def _record(captured: Captured, example: Arguments) -> None:
    """Run the model once, noting what each node of each part computes the first time it runs."""
    handles = [part.register_forward_pre_hook(_recorder(), with_kwargs=True) for part in captured.parts.values()]
    try:
        _run(captured.root, example)
    finally:
        for handle in handles:
            handle.remove()


def _recorder() -> Any:
    seen: list[bool] = []

    def record(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert isinstance(part, fx.GraphModule)
        if not seen:
            seen.append(True)
            ValueRecorder(part).run(*positional(part, *cloned((args, kwargs))))

    return record
