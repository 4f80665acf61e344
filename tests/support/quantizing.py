"""Capture and quantize with the core alone, and check on the way that nothing of the caller's changes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

import fxq_core as fxq
from fxq_core.capture import Captured, capture
from fxq_core.capture.calls import cloned, positional
from fxq_core.capture.values import FLOAT_ONLY
from fxq_core.testing.photo import photo_of_model

INSTALLED = ("fxq-fbgemm", "fxq-qnnpack", "fxq-openvino", "fxq-celu")
CORE = fxq.load_plugins(block=INSTALLED)


def quantizer(model: nn.Module, example: Any, **settings: Any) -> fxq.Quantizer:
    return fxq.Quantizer(model.eval(), example, settings.pop("engine", "reference"), registry=CORE, **settings)


def quantized(model: nn.Module, *batches: Any, **settings: Any) -> nn.Module:
    """The int8 model on the reference engine; the float one stays as it was."""
    with untouched(model.eval(), batches):
        return quantizer(model, batches[0], **settings).calibrate(list(batches)).quantize()


def patterns(qmodel: nn.Module) -> dict[str, str]:
    """The pattern of every node that is int8."""
    return {row.node: row.pattern for row in fxq.report(qmodel).rows if row.quantized}


def int8(qmodel: nn.Module) -> list[str]:
    """The patterns in use, sorted, in all parts of a model."""
    return sorted(row.pattern for row in fxq.report(qmodel).rows if row.quantized)


def run(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = cloned((args, kwargs))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return model(*args, **kwargs)


def error(model: nn.Module, qmodel: nn.Module, *args: Any, **kwargs: Any) -> float:
    """The largest difference from float, as a share of the largest number in float."""
    wanted, got = tree_leaves(run(model, *args, **kwargs)), tree_leaves(run(qmodel, *args, **kwargs))
    pairs = [(w, g) for w, g in zip(wanted, got, strict=True) if isinstance(w, torch.Tensor)]
    largest = max(float(w.abs().max()) for w, _ in pairs)
    return max(float((w - g).abs().max()) for w, g in pairs) / largest


def captured(model: nn.Module, *args: Any, **kwargs: Any) -> Captured:
    """Capture a model; the graphs must compute the same, also if every value that may become int8 is copied."""
    expected = run(copy.deepcopy(model.eval()), *args, **kwargs)
    with untouched(model, (args, kwargs)):
        result = capture(model, (args, kwargs))
    assert_same(run(copy.deepcopy(result.root), *args, **kwargs), expected)
    if result.parts:
        twin = copy.deepcopy(result)
        for part in twin.parts.values():
            _copy_values(part)
        assert_same(run(twin.root, *args, **kwargs), expected)
    return result


def assert_same(result: Any, expected: Any) -> None:
    assert isinstance(result, type(expected))
    got, wanted = tree_leaves(result), tree_leaves(expected)
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        if isinstance(other, torch.Tensor):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        else:
            assert type(one) is type(other)


class _Copying(fx.Interpreter):
    """What int8 and float readers both take they take in different memory, so none may write into an unmarked one."""

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[Any, Any]:
        def load(value: fx.Node) -> Any:
            result = self.env[value]
            return result.clone() if FLOAT_ONLY not in value.meta and isinstance(result, torch.Tensor) else result

        args, kwargs = fx.node.map_arg((n.args, n.kwargs), load)
        return args, kwargs


def _copy_values(part: fx.GraphModule) -> None:
    def forward(*args: Any, **kwargs: Any) -> Any:
        return _Copying(part).run(*positional(twin, args, kwargs))

    twin = copy.deepcopy(part)
    part.forward = forward  # type: ignore[method-assign]


@contextlib.contextmanager
def untouched(model: nn.Module, values: Any) -> Iterator[None]:
    """Fails if the model, the values or the random state are not left as they were."""
    before, kept = photo_of_model(model), cloned((values, {}))[0]
    random = torch.get_rng_state()
    yield
    assert before.changes(photo_of_model(model)) == []
    for one, other in zip(tree_leaves(kept), tree_leaves(values), strict=True):
        assert not isinstance(one, torch.Tensor) or torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), random)
