"""Turn a copy of a model into graphs, from the root down: where a module can't be traced, its children may be."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from fxq_core.capture.calls import (
    FLAGS,
    MACHINERY,
    NUMBERS,
    Arguments,
    CallLog,
    fixed_arguments,
    kept_attributes,
    kept_buffers,
    kept_random,
    random_states,
)
from fxq_core.capture.containers import Layout
from fxq_core.capture.graphs import prefixes, put
from fxq_core.capture.location import why
from fxq_core.capture.tracer import RANDOM, is_layer, layer_graph, own_behaviour, trace

ATTRIBUTES = "fxq_attributes"
SIGNATURE = "fxq_signature"
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


class PartCapturer:
    """Captures the parts of a model that can be traced.

    Args:
        root: a copy of the model; it is changed.
        log: how the example calls each submodule.
        example: the example inputs.
        kept: why not to trace some of its modules, by path.
    """

    def __init__(self, root: nn.Module, log: CallLog, example: Arguments, kept: Mapping[str, str]) -> None:
        self.root, self.log, self.example, self.kept = root, log, example, kept
        self.around = {path for called in log.fixed for path in prefixes(called)}
        self.parts: dict[str, fx.GraphModule] = {}
        self.left: dict[str, str] = {}

    def capture(self) -> Captured:
        self._enter("", self.root)
        return Captured(self.root, self.parts, self.left, {})

    def _enter(self, path: str, module: nn.Module) -> None:
        called = not path or path in self.log.fixed
        if not called and path not in self.around:
            self.left[path] = "the example never reached it"
            return
        reason = self._trace(path, module) if called else None
        if reason:
            self.left[path] = reason
        if (reason or not called) and not (path and is_layer(module)):
            for name, child in list(module.named_children()):
                self._enter(f"{path}.{name}" if path else name, child)

    def _trace(self, path: str, module: nn.Module) -> str | None:
        """Make the module at ``path`` a part; or say why that is not possible."""
        if path in self.kept:
            return self.kept[path]
        if path and (reason := own_behaviour(module)):
            return reason
        if path in self.log.varies:
            return self.log.varies[path]
        if is_layer(module) and path in self.log.several:
            return "it takes more than one input, and the module around it can't be traced"
        if is_layer(module):
            part, leaves = layer_graph(module), dict[str, str]()
        else:
            fixed = self.log.fixed[path] if path else fixed_arguments(module, *self.example)
            outcome = attempt(module, fixed, below(path, self.kept), is_root=not path)
            if isinstance(outcome, str):
                return outcome
            part, leaves = outcome
        self.parts[path] = part
        _keep_attributes(module, part)
        if path:
            put(self.root, path, part)
        else:
            self.root = part
        for leaf, reason in leaves.items():
            inner = f"{path}.{leaf}" if path else leaf
            self.left[inner] = reason
            for name, child in list(part.get_submodule(leaf).named_children()):
                self._enter(f"{inner}.{name}", child)
        return None


def below(path: str, kept: Mapping[str, str]) -> dict[str, str]:
    """The reasons of the modules below a path, by their path from there."""
    prefix = f"{path}." if path else ""
    return {inner[len(prefix) :]: reason for inner, reason in kept.items() if inner.startswith(prefix) and inner}


def attempt(
    module: nn.Module, fixed: dict[str, Any], kept: dict[str, str], is_root: bool = False
) -> tuple[fx.GraphModule, dict[str, str]] | str:
    """What the first way to trace a module gives that does not fail, or why the first one failed."""
    flags = {name: value for name, value in fixed.items() if isinstance(value, FLAGS)}
    opened = {name: value for name, value in fixed.items() if isinstance(value, (*FLAGS, Layout))}
    # a number or a buffer may decide the way; but a module below an untraceable one is called with any number
    attempts = [(flags, True), (flags, False), *([(fixed, False)] if is_root else [])]
    if opened != flags:
        # a list may have any length, unless the module, or one that it hands it to, does more than pick from it
        attempts[1:1] = [(opened, True), (opened, False)]
    reasons, partial = [], None
    for constant, follow_buffers in attempts:
        versions = [buffer._version for buffer in module.buffers()]
        drawn, numbers = random_states(), _numbers(module)
        try:
            with kept_random(), kept_attributes(module) as unchanged, kept_buffers(module):
                traced = trace(module, constant, kept, follow_buffers)
                if drawn != random_states():
                    reasons.append(RANDOM)
                    continue
                if numbers != _numbers(module) or not unchanged():
                    reasons.append("it changes attributes of its own, which a trace would freeze")
                    continue
                if versions != [buffer._version for buffer in module.buffers()]:
                    reasons.append("it writes into a buffer in a way that no trace records")
                    continue
                _, leaves = traced
                if not leaves or opened == flags:
                    return traced
                partial = traced if partial is None or len(leaves) < len(partial[1]) else partial
        except Exception as error:
            reasons.append(why(error))
    return reasons[0] if partial is None else partial


def _numbers(module: nn.Module) -> list[dict[str, Any]]:
    """The plain attributes of every module, which may steer a forward."""
    return [{k: v for k, v in vars(m).items() if isinstance(v, FLAGS + NUMBERS)} for m in module.modules()]


def _keep_attributes(module: nn.Module, part: fx.GraphModule) -> None:
    """What users can reach on a module, its own attributes and a root's hooks, stays reachable."""
    part.meta[SIGNATURE] = inspect.signature(module.forward)
    part.meta[ATTRIBUTES] = {name: value for name, value in vars(module).items() if name not in MACHINERY}
    for name, value in part.meta[ATTRIBUTES].items():
        if not hasattr(part, name):
            setattr(part, name, value)
    # a lone layer is called by its part, and keeps its hooks itself
    for name in () if is_layer(module) else HOOKS:
        setattr(part, name, copy.copy(getattr(module, name)))
