"""Whole models: structures of outputs, hooks, state, randomness; and nothing of the caller's changes."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.quantizing import captured, error, int8, patterns, quantized, quantizer, run

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))


class Two(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Record:
    value: Any
    rest: Any = None


class Net(nn.Module):
    """Two layers and a buffer, used as a function says."""

    def __init__(self, form: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form, self.tag = form, "mine"
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("offset", torch.randn(4))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: y,
        lambda y: (y, [y, {"a": y + 1}], None, 3, "text"),
        lambda y: {"a": y, "b": (y.shape[0], y)},
        lambda y: Two(y, {"b": y * 2}),
        lambda y: [Two(y, y)],
    ],
)
def test_the_structure_of_the_outputs_is_kept(make: Callable[[Any], Any]) -> None:
    model = Net(lambda m, x: make(m.one(x)))
    captured(model, X)
    lowered = quantized(model, X)
    assert patterns(lowered)["one"] == "linear"
    assert error(model, lowered, X) < 0.05
    for module in (lowered, quantizer(model, X).observe):
        result = run(module, X)
        assert type(result) is type(run(model, X))
        nested = (lambda r: [type(part) for part in r]) if isinstance(result, (tuple, list)) else type
        assert nested(result) == nested(run(model, X))


def test_a_dataclass_comes_out() -> None:
    model = Net(lambda m, x: Record(m.one(x), rest=[m.two(x)]))
    lowered = quantized(model, X)
    assert patterns(lowered) == {"one": "linear", "two": "linear"}
    result = run(lowered, X)
    assert type(result) is Record
    assert (result.value - run(model, X).value).abs().max() < 0.05


def test_a_wrong_trace_behind_a_dataclass_is_found() -> None:
    # isinstance sees no tensor while tracing, so the trace takes the other branch
    model = Net(lambda m, x: Record(m.one(x) if isinstance(x, torch.Tensor) else m.two(x))).eval()
    assert (run(quantized(model, X), X).value - run(model, X).value).abs().max() < 0.05


@pytest.mark.parametrize("gain", [1.0, 1e-6, 1e6])
def test_a_wrong_trace_is_found_whatever_the_magnitude(gain: float) -> None:
    model = Net(lambda m, x: m.one(x * gain) * gain if isinstance(x, torch.Tensor) else m.two(x * gain) * gain).eval()
    assert error(model, quantized(model, X), X) < 0.05


def test_hooks_are_called_as_before() -> None:
    calls: list[str] = []

    def hook(name: str) -> Any:
        return lambda *_: calls.append(name)

    inner = Net(lambda m, x: m.one(x).relu_())
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), inner, nn.Linear(4, 4)).eval()
    model.register_forward_hook(hook("root"))
    model.register_forward_pre_hook(hook("root before"))
    model[1].register_forward_hook(hook("layer"))
    model[2].register_forward_pre_hook(hook("child"))
    q = quantizer(model, X)
    calls.clear()
    q.observe(X)
    expected = ["root before", "layer", "child", "root"]
    assert calls == expected
    lowered = q.quantize()
    calls.clear()
    run(lowered, X)
    assert calls == expected
    assert int8(lowered) == ["linear"] * 3
    assert error(model, lowered, X) < 0.05


def test_hooks_on_the_root_may_change_what_goes_in_and_out() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).eval()
    model.register_forward_pre_hook(lambda module, args: (args[0] * 100,))
    model.register_forward_hook(lambda module, args, result: result + 7)
    q = quantizer(model, X)
    assert torch.allclose(q.observe(X), run(model, X))
    assert error(model, q.quantize(), X) < 0.05


def test_a_root_without_anything_to_quantize_keeps_its_hooks_and_attributes() -> None:
    model = nn.Sequential(nn.LayerNorm(4)).eval()
    model.tag = "mine"
    model.register_forward_hook(lambda module, args, result: result * 10)
    lowered: Any = quantized(model, X)
    assert error(model, lowered, X) == 0
    assert lowered.tag == "mine"


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: m.one(x) + torch.rand_like(x),
        lambda m, x: F.dropout(m.one(x), 0.5, training=True),
        lambda m, x: m.two(F.dropout(m.one(x), 0.5, training=True)),
        lambda m, x: m.one(x) + torch.randn(x.shape),
    ],
)
def test_random_ops_stay_random_and_the_rest_is_int8(form: Any) -> None:
    model = Net(form).eval()
    lowered = quantized(model, X)
    assert "linear" in patterns(lowered).values()
    assert error(model, lowered, X) < 0.5  # other draws than those of calibration
    with torch.no_grad():
        assert not torch.equal(lowered(X), lowered(X))


def test_pythons_random_state_is_left_too() -> None:
    model = Net(lambda m, x: m.one(x) * (1 if random.random() < 2 else 0))
    before = random.getstate()
    quantized(model, X)
    assert random.getstate() == before


def test_buffers_in_arithmetic_are_constants() -> None:
    model = Net(lambda m, x: m.two(m.one(x) + m.offset) * m.offset.abs())
    lowered = quantized(model, X)
    assert error(model, lowered, X) < 0.05


def test_a_model_that_counts_its_calls_is_right_afterwards() -> None:
    def counting(m: Any, x: torch.Tensor) -> torch.Tensor:
        m.steps += 1
        return m.one(x) * m.steps

    model = Net(counting).eval()
    lowered = quantized(model, X)
    float_model = copy.deepcopy(model)
    for _ in range(2):
        assert error(float_model, lowered, X) < 0.05


def test_what_a_forward_pass_leaves_on_the_model_is_no_proxy() -> None:
    def keeping(m: Any, x: torch.Tensor) -> torch.Tensor:
        m.last = m.one(x)
        return m.two(m.last)

    lowered: Any = quantized(Net(keeping), X)
    run(lowered, X)
    assert isinstance(getattr(lowered, "last", X), torch.Tensor)


def test_modules_that_are_not_called_are_noted_and_gone() -> None:
    model = Net(lambda m, x: m.one(x))
    model.spare = nn.ModuleList([nn.Linear(4, 4)])
    lowered: Any = quantized(model, X)
    assert patterns(lowered) == {"one": "linear"}
    assert not any(name.startswith(("two", "spare")) for name in lowered.state_dict())
    assert lowered.tag == "mine"


def test_one_layer_alone_is_a_model() -> None:
    torch.manual_seed(0)
    for model, x in ((nn.Linear(4, 4), X), (nn.Conv2d(3, 4, 3), torch.randn(1, 3, 5, 5))):
        lowered = quantized(model, x)
        assert len(patterns(lowered)) == 1
        assert error(model, lowered, x) < 0.05


@pytest.mark.parametrize("name", ["graph", "code", "meta", "engine", "layer", "qparams", "forward_"])
def test_submodules_may_have_any_name(name: str) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(name, nn.LayerNorm(4))
            self.last = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(getattr(self, name)(x))

    torch.manual_seed(0)
    model = Named().eval()
    lowered = quantized(model, X)
    assert "linear" in patterns(lowered).values()
    assert error(model, lowered, X) < 0.05
