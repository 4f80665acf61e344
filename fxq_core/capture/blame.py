"""Which part of a capture that failed is to blame, so that it alone stays as it is."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from fxq_core.capture.calls import Arguments, CallLog, cloned
from fxq_core.capture.graphs import put
from fxq_core.capture.parts import ATTRIBUTES, Captured, attempt, below
from fxq_core.capture.tracer import is_layer, own_behaviour
from fxq_core.capture.verify import ROUNDED, run, run_calls, same
from fxq_core.errors import CaptureError

OTHER_NUMBERS = "its trace computes other numbers than the module itself, so it depends on more than its inputs"
USED_OTHERWISE = "the code around it uses more of it than its result, such as its weights"


class Call(NamedTuple):
    """What a module was called with, the random state at that moment, and what it gave."""

    arguments: Arguments
    random: torch.Tensor
    result: Any


class Sealed(nn.Module):
    """A part as the models that are made of it hold it: it can be called and has its plain attributes, no more."""

    def __init__(self, part: fx.GraphModule) -> None:
        super().__init__()
        self.part = part
        for name, value in part.meta[ATTRIBUTES].items():
            if not hasattr(self, name):
                setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.part(*args, **kwargs)


@contextlib.contextmanager
def sealed(captured: Captured) -> Iterator[None]:
    """Seal every part below the root."""
    paths = [path for path in captured.parts if path]
    # inner parts first, while what is around them is still in reach
    for path in reversed(paths):
        put(captured.root, path, Sealed(captured.parts[path]))
    try:
        yield
    finally:
        for path in paths:
            put(captured.root, path, captured.parts[path])


def _innermost(path: str) -> tuple[int, str]:
    return -path.count("."), path


def wrong_modules(root: nn.Module, log: CallLog, example: Arguments, kept: dict[str, str]) -> dict[str, str]:
    """The modules below the root whose own trace does not give what they give, innermost first, each with a reason.

    Args:
        root: a copy of the model that nothing was done to.
        log: how the example calls its modules.
        kept: the modules that are not traced, by path.
    """
    calls = _two_calls(root, log, example, kept)
    found: dict[str, str] = {}
    for path in sorted(calls, key=_innermost):
        outcome = attempt(root.get_submodule(path), log.fixed[path], below(path, kept | found))
        if not isinstance(outcome, str) and not _reproduces(outcome[0], calls[path]):
            found[path] = OTHER_NUMBERS
    return found


def _two_calls(root: nn.Module, log: CallLog, example: Arguments, kept: dict[str, str]) -> dict[str, list[Call]]:
    """The first two calls of each module that is traced."""
    calls: dict[str, list[Call]] = {}
    entered: dict[str, tuple[Arguments, torch.Tensor]] = {}

    def before(path: str) -> Any:
        def note(module: nn.Module, args: Any, kwargs: Any) -> None:
            if len(calls.get(path, ())) < 2:
                entered[path] = cloned((args, kwargs)), torch.get_rng_state()

        return note

    def after(path: str) -> Any:
        def note(module: nn.Module, args: Any, result: Any) -> None:
            if len(calls.setdefault(path, [])) < 2:
                calls[path].append(Call(*entered[path], cloned(((result,), {}))[0][0]))

        return note

    handles: list[Any] = []
    for path in log.fixed.keys() - kept.keys() - log.varies.keys():
        module = root.get_submodule(path)
        if not is_layer(module) and own_behaviour(module) is None:
            handles += [
                module.register_forward_pre_hook(before(path), with_kwargs=True),
                module.register_forward_hook(after(path)),
            ]
    run(root, example)
    for handle in handles:
        handle.remove()
    return calls


def _reproduces(part: fx.GraphModule, calls: list[Call]) -> bool:
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            results = run_calls(part, [(call.arguments, call.random) for call in calls])
        except CaptureError:
            return False
    return same(results, tuple(call.result for call in calls))


def wrong_parts(captured: Captured, root: nn.Module, example: Arguments, expected: Any) -> dict[str, str]:
    """The parts that alone, in an otherwise untouched copy of the model, make it fail or give something else."""
    found: dict[str, str] = {}
    for path in sorted(filter(None, captured.parts), key=_innermost):
        if any(other.startswith(f"{path}.") for other in found):
            continue  # it holds the one to blame
        original = root.get_submodule(path)
        put(root, path, Sealed(captured.parts[path]))
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                if not same(run(root, example), expected, ROUNDED):
                    found[path] = OTHER_NUMBERS
        except CaptureError:
            found[path] = USED_OTHERWISE
        put(root, path, original)
    return found
