"""Entries 43 to 46: how batches are passed, what is kept while they run, and the state of observers."""

from __future__ import annotations

import io
import weakref
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.observers.base import Observer
from seed_defects.oracle import module


def masked(self: Any, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    y = self.fc(x)
    return y if mask is None else y * mask


def test_seed_43_defaults_may_be_left_out_and_arguments_named(registry: fxq.Registry) -> None:
    model, x = module(masked, fc=nn.Linear(4, 3)), torch.randn(5, 4)
    q = fxq.Quantizer(model, x, engine="reference", registry=registry)
    results = [q.observe(x), q.observe(x=x), q.observe(x, None), q.observe(mask=None, x=x)]
    assert all(torch.equal(result, model(x)) for result in results)
    qmodel = q.calibrate([x, {"x": x}, (x, None)]).quantize()
    assert q.batches == 7
    assert torch.equal(qmodel(x), qmodel(x=x, mask=None))


def test_seed_43_arguments_of_the_example_are_taken(registry: fxq.Registry) -> None:
    model, x, mask = module(masked, fc=nn.Linear(4, 3)), torch.randn(5, 4), torch.zeros(5, 1)
    qmodel = fxq.quantize(model, [{"x": x, "mask": mask}], engine="reference", registry=registry)
    assert torch.equal(qmodel(x, mask), torch.zeros(5, 3))


@pytest.mark.parametrize(
    "batch", [lambda x: (x, None, x), lambda x: (), lambda x: {"y": x}, lambda x: {"x": x, "z": 1}]
)
def test_seed_43_arguments_that_do_not_fit_are_refused(batch: Any, registry: fxq.Registry) -> None:
    x = torch.randn(5, 4)
    q = fxq.Quantizer(module(masked, fc=nn.Linear(4, 3)), x, engine="reference", registry=registry)
    with pytest.raises(fxq.CalibrationError, match=r"^batch 0: the model refused it \(TypeError: "):
        q.calibrate([batch(x)])
    assert q.batches == 0


def test_seed_43_an_argument_that_the_graph_does_not_have_is_refused(registry: fxq.Registry) -> None:
    x = torch.randn(5, 4)
    q = fxq.Quantizer(module(masked, fc=nn.Linear(4, 3)), x, engine="reference", registry=registry).calibrate([x])
    with pytest.raises(fxq.CalibrationError, match="argument 'mask' was None in the example"):
        q.observe(x, torch.ones(5, 1))
    with pytest.raises(fxq.CaptureError, match=r"^argument 'mask' was None in the example"):
        q.quantize()(x, torch.ones(5, 1))


def test_seed_44_nothing_is_kept_for_autograd(registry: fxq.Registry) -> None:
    model, x = module(masked, fc=nn.Linear(4, 3)), torch.randn(5, 4, requires_grad=True)
    q = fxq.Quantizer(model, x, engine="reference", registry=registry)
    assert model(x).requires_grad
    assert not q.observe(x).requires_grad
    assert not any(value.requires_grad for value in q.quantize().state_dict().values())
    assert x.grad is None


def test_seed_45_values_are_freed_when_the_last_reader_has_run(registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardswish(), nn.Conv2d(4, 4, 3), nn.Hardswish(), nn.Flatten()).eval()
    alive: list[weakref.ref[torch.Tensor]] = []
    seen: list[int] = []
    model[0].register_forward_hook(lambda layer, args, result: alive.append(weakref.ref(result)))
    model[4].register_forward_hook(lambda layer, args, result: seen.append(sum(ref() is not None for ref in alive)))
    x = torch.randn(2, 3, 8, 8)
    q = fxq.Quantizer(model, x, engine="reference", registry=registry)
    alive.clear()
    seen.clear()
    q.observe(x)
    assert len(alive) == 1
    assert seen == [0]


def test_seed_45_one_observer_for_each_value_and_none_for_the_rest(
    registry: fxq.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.conv(x))  # conv alone is interior, relu is both a result and an input
        return torch.sin(self.pool(self.out(y)) + y) * self.factor  # sin and factor are float

    layers = {"conv": nn.Conv2d(3, 4, 1), "relu": nn.ReLU(), "out": nn.Conv2d(4, 4, 1), "pool": nn.MaxPool2d(1)}
    model, x = module(forward, **layers, factor=torch.ones(4, 1, 1)), torch.randn(2, 3, 8, 8)
    q = fxq.Quantizer(model, x, engine="reference", registry=registry)
    watched: list[tuple[int, ...]] = []
    observe = Observer.observe
    monkeypatch.setattr(Observer, "observe", lambda self, value: (watched.append(value.shape), observe(self, value)))
    q.observe(x)
    # x, relu, out, add; the pool's result shares the range of its input
    assert sorted(watched) == sorted([(2, 3, 8, 8)] + [(2, 4, 8, 8)] * 3)


OBSERVERS = ("minmax", "moving-average", "histogram", "entropy", "percentile")


@pytest.mark.parametrize("name", OBSERVERS)
def test_seed_46_observers_merge_save_and_load(name: str, registry: fxq.Registry) -> None:
    spec = registry.engines["reference"].activation
    batches = [torch.randn(100) * 3**power for power in range(4)]
    whole, first, second, loaded = (registry.observers[name].build(spec) for _ in range(4))
    for batch in batches:
        whole.observe(batch)
    first.observe(batches[0])
    for batch in batches[1:]:
        second.observe(batch)
    first.merge(second)
    assert first.count == whole.count == 4
    scale, zero_point = whole.qparams()
    assert first.qparams().scale == pytest.approx(scale, rel=1e-6)  # averages are sums in another order
    assert first.qparams().zero_point == zero_point
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert loaded.qparams() == whole.qparams()


def test_seed_46_calibration_can_be_saved_continued_and_reset(registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    batches = [torch.randn(5, 4) * 3**power for power in range(3)]
    q, other = (fxq.Quantizer(model, batches[0], engine="reference", registry=registry) for _ in range(2))
    fresh = q.prepared.state_dict()
    q.calibrate(batches[:2])
    other.prepared.load_state_dict(q.prepared.state_dict())
    whole = q.calibrate(batches[2:]).quantize()
    assert torch.equal(other.calibrate(batches[2:]).quantize()(batches[0]), whole(batches[0]))
    q.prepared.load_state_dict(fresh)
    again = q.calibrate(batches).quantize()
    assert torch.equal(again(batches[0]), whole(batches[0]))
