"""Capture: a copy of the model as graphs that compute the same, ready for matching.

Copy, check, trace, one form per layer, in-place ops made functional, batch norm folded, values recorded. Where the
root, or a module in it, can't be traced, that module stays as it is and each traceable part below it becomes a
graph of its own. What comes out is run on the example and compared with the model: a trace that computes something
else is given up, never used, and what is to blame for it stays as it is, alone where possible.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from fxq_core.capture.bake import bake
from fxq_core.capture.blame import OTHER_NUMBERS, sealed, wrong_modules, wrong_parts
from fxq_core.capture.calls import Arguments, CallLog, cloned, kept_buffers, kept_random, positional
from fxq_core.capture.canonical import canonicalize, views_to_reshapes
from fxq_core.capture.checks import check_arguments, check_dtypes, check_model
from fxq_core.capture.composite import composites, decompose
from fxq_core.capture.constants import fold_constants
from fxq_core.capture.folding import fold_batch_norms
from fxq_core.capture.inplace import drop_unused, functionalize
from fxq_core.capture.operands import simplify_operands
from fxq_core.capture.parts import ATTRIBUTES, HOOKS, SIGNATURE, Captured, PartCapturer
from fxq_core.capture.shuffles import shuffles
from fxq_core.capture.values import ValueRecorder
from fxq_core.capture.verify import ROUNDED, amplifies, run, same
from fxq_core.errors import CaptureError

__all__ = ["ATTRIBUTES", "HOOKS", "SIGNATURE", "Captured", "capture"]


def capture(model: nn.Module, example: Arguments) -> Captured:
    """Capture ``model`` as it runs on ``example``; the model and the example stay as they are.

    Raises:
        CaptureError: not a module, in train mode, not float32 on a CPU, or the example does not fit.
    """
    check_model(model)
    check_arguments(example)
    with torch.no_grad(), kept_random():
        try:
            root, fresh, log, expected = _watched(model, example)
        except CaptureError:
            check_dtypes(example)
            raise
        kept: dict[str, str] = {}
        while True:
            captured = PartCapturer(root, log, example, kept).capture()
            # a graph that folds its batch norms lets go of the unfolded weights, so nothing else may hold them
            del root
            if _refined(captured, example, expected, fresh):
                return captured
            blamed = wrong_modules(fresh(), log, example, kept) or wrong_parts(captured, fresh(), example, expected)
            if not blamed and "" in kept:
                return Captured(fresh(), {}, {"": OTHER_NUMBERS}, {})
            kept |= blamed or {"": OTHER_NUMBERS}
            root = fresh()


def _watched(model: nn.Module, example: Arguments) -> tuple[nn.Module, Callable[[], nn.Module], CallLog, Any]:
    """A copy of the model to capture, what makes more of them, how their modules are called, and the result."""
    wanted = run(_copied(model), example) if composites(model) else None

    def fresh() -> nn.Module:
        root = _copied(model)
        decompose(root)
        return root

    for make in (fresh, lambda: _copied(model)):
        root = make()
        with CallLog(root) as log:
            try:
                result = run(root, example)
            except CaptureError:
                if wanted is None:
                    raise
                continue
        if wanted is None or same(result, wanted):
            break
    return root, make, log, result if wanted is None else wanted


def _copied(model: nn.Module) -> nn.Module:
    try:
        # what a forward with gradients left behind, such as an old weight norm's weight, torch can't copy
        left = [v for m in model.modules() for v in vars(m).values() if isinstance(v, torch.Tensor) and not v.is_leaf]
        copied = copy.deepcopy(model, {id(value): value.detach().clone() for value in left})
    except Exception as error:
        raise CaptureError(
            f"{type(model).__name__} can't be copied ({type(error).__name__}: {error}); "
            "make copy.deepcopy(model) work first"
        ) from error
    bake(copied)
    return copied


def _refined(captured: Captured, example: Arguments, expected: Any, fresh: Callable[[], nn.Module]) -> bool:
    """Bring every part to the form that patterns are written for; whether it computed and computes what is expected."""
    try:
        _record(captured, example)
        for part in captured.parts.values():
            functionalize(part)
            drop_unused(part)
            part.recompile()
        with sealed(captured):
            # the same ops as the model's, so the same numbers
            if not same(_record(captured, example), expected):
                return False
        for path, part in captured.parts.items():
            simplify_operands(part)
            fold_constants(part)
            canonicalize(part)
            shuffles(part)
            views_to_reshapes(part)
            for name, fate in fold_batch_norms(part).items():
                captured.folded[f"{path}.{name}" if path else name] = fate
            part.graph.lint()
            part.recompile()
            part.delete_all_unused_submodules()
        # now with some rounding in other places, which a deep network may amplify without being wrong
        return same(_record(captured, example), expected, ROUNDED) or amplifies(fresh(), example, expected)
    except CaptureError:
        return False


def _record(captured: Captured, example: Arguments) -> Any:
    """Run the model once, noting what each node of each part computes the first time it runs."""
    handles = [part.register_forward_pre_hook(_recorder(), with_kwargs=True) for part in captured.parts.values()]
    try:
        # torch.fx prints where a graph fails, but a graph that fails is only given up
        with contextlib.redirect_stderr(io.StringIO()):
            return run(captured.root, example)
    finally:
        for handle in handles:
            handle.remove()


def _recorder() -> Any:
    seen: list[bool] = []

    def record(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert isinstance(part, fx.GraphModule)
        if not seen:
            seen.append(True)
            with kept_random(), kept_buffers(part):
                ValueRecorder(part).run(*positional(part, *cloned((args, kwargs))))

    return record
