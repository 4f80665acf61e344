"""What quantizing leaves alone, and how its result is copied, saved and loaded."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

from support.distributions import load

GENERATOR = torch.Generator().manual_seed(1)
BATCHES = [torch.randn(2, 3, 8, 8, generator=GENERATOR) for _ in range(3)]
X = torch.randn(3, 3, 8, 8, generator=GENERATOR)


class Net(nn.Module):
    """Everything that could be changed by mistake: statistics, randomness, in-place ops, a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.register_buffer("offset", torch.linspace(-1, 1, 4).reshape(4, 1, 1))
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.conv(x))) + self.offset
        x = F.dropout(x, 0.1, training=True)
        return self.head(x.mean((2, 3)))


class Gate(nn.Module):
    """A root that can't be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.scale = Net(), 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) * self.scale if x.sum() < 1e6 else x


def hook(module: nn.Module, args: Any, output: torch.Tensor) -> None:
    """Does nothing, and must stay."""


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    model = Net().eval()
    model.head.register_forward_hook(hook)
    return model


class Unfit(Net):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


def nan() -> Iterator[torch.Tensor]:
    yield BATCHES[0]
    yield BATCHES[0] * float("nan")


FAILURES: dict[str, Any] = {
    "success": lambda net, core: fxq.quantize(net, BATCHES, "reference", registry=core),
    "unknown engine": lambda net, core: fxq.quantize(net, BATCHES, "tpu", registry=core),
    "a config without effect": lambda net, core: fxq.quantize(
        net, BATCHES, "reference", fxq.Config(skip=("tail",)), registry=core
    ),
    "no batch": lambda net, core: fxq.quantize(net, [], "reference", registry=core),
    "a batch that does not fit": lambda net, core: fxq.quantize(net, [X[:, :2]], "reference", registry=core),
    "a later batch": lambda net, core: fxq.quantize(net, [*BATCHES, X[:, :2]], "reference", registry=core),
    "NaN": lambda net, core: fxq.quantize(net, nan(), "reference", registry=core),
    "uncalibrated": lambda net, core: fxq.Quantizer(net, X, "reference", registry=core).quantize(),
    "train mode": lambda net, core: fxq.quantize(nn.Sequential(net), BATCHES, "reference", registry=core),
}


def snapshot(net: nn.Module) -> dict[str, Any]:
    return {
        "state": {name: tensor.clone() for name, tensor in net.state_dict().items()},
        "versions": {name: tensor._version for name, tensor in net.state_dict(keep_vars=True).items()},
        "ids": {name: id(tensor) for name, tensor in net.state_dict(keep_vars=True).items()},
        "grads": {name: parameter.requires_grad for name, parameter in net.named_parameters()},
        "modules": {name: (id(module), module.training, vars(module).keys()) for name, module in net.named_modules()},
        "hooks": {
            name: [list(value.values()) for key, value in vars(module).items() if key.endswith("_hooks")]
            for name, module in net.named_modules()
        },
        "inplace": net.relu.inplace,
        "engine": torch.backends.quantized.engine,
        "random": torch.random.get_rng_state(),
        "grad mode": torch.is_grad_enabled(),
        "batches": [batch.clone() for batch in (*BATCHES, X)],
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("case", FAILURES)
def test_everything_of_the_callers_is_as_it_was(case: str, net: nn.Module, core: fxq.Registry) -> None:
    before = snapshot(net)
    if case == "success":
        FAILURES[case](net, core)
    else:
        with pytest.raises(fxq.FxqError):
            FAILURES[case](net, core)
    after = snapshot(net)
    assert {key for key in before if not same(before[key], after[key])} == set()


def test_the_callers_generator_of_batches_may_draw_numbers(net: nn.Module, core: fxq.Registry) -> None:
    torch.manual_seed(5)
    drawn = [torch.rand(1, 3, 8, 8) for _ in range(3)]
    torch.manual_seed(5)
    seen = []

    def batches() -> Iterator[torch.Tensor]:
        for _ in range(3):
            seen.append(torch.rand(1, 3, 8, 8))
            yield seen[-1]

    fxq.quantize(net, batches(), "reference", registry=core)
    assert same(seen, drawn)


def test_a_batch_that_fails_leaves_the_statistics_as_they_were(net: nn.Module, core: fxq.Registry) -> None:
    quantizer = fxq.Quantizer(net, X, "reference", registry=core).calibrate(BATCHES)
    before = quantizer.quantize().state_dict()
    for bad in (X * float("inf"), X[:, :2]):
        with pytest.raises(fxq.CalibrationError, match=r"^batch 3: "):
            quantizer.observe(bad)
    assert quantizer.batches == 3
    assert same(dict(quantizer.quantize().state_dict()), dict(before))


def out(module: nn.Module) -> torch.Tensor:
    torch.manual_seed(3)
    with torch.no_grad():
        return module(X)


@pytest.mark.parametrize("root", [Net, Gate])
def test_a_state_dict_carries_one_calibration_into_another(root: type[nn.Module], core: fxq.Registry) -> None:
    torch.manual_seed(0)
    lowered = fxq.quantize(root().eval(), BATCHES, "reference", registry=core)
    other = fxq.quantize(root().eval(), [9 * batch + 1 for batch in BATCHES], "reference", registry=core)
    assert not torch.equal(out(other), out(lowered))
    file = io.BytesIO()
    torch.save(lowered.state_dict(), file)
    file.seek(0)
    assert not other.load_state_dict(torch.load(file, weights_only=True), strict=True).missing_keys
    assert torch.equal(out(other), out(lowered))
    assert torch.equal(out(pickle.loads(pickle.dumps(other))), out(lowered))


@pytest.mark.parametrize("root", [Net, Gate])
def test_copies_and_pickles_compute_the_same(root: type[nn.Module], core: fxq.Registry) -> None:
    torch.manual_seed(0)
    lowered = fxq.quantize(root().eval(), BATCHES, "reference", registry=core)
    file = io.BytesIO()
    torch.save(lowered, file)
    file.seek(0)
    twins = (copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered)), torch.load(file, weights_only=False))
    for twin in twins:
        assert torch.equal(out(twin), out(lowered))
        assert same(dict(twin.state_dict()), dict(lowered.state_dict()))
    with torch.no_grad():
        for tensor in twins[0].state_dict().values():
            tensor.zero_()
    assert not torch.equal(out(twins[0]), out(lowered))


def test_hooks_stay_on_the_result(net: nn.Module, core: fxq.Registry) -> None:
    lowered = fxq.quantize(net, BATCHES, "reference", registry=core)
    assert list(lowered.head._forward_hooks.values()) == [hook]
    rows = {row.node: row for row in fxq.report(lowered).rows}
    assert rows["head"].reason == "it has forward hooks, which are kept"


def test_the_installed_plugins_are_used_if_no_registry_is_given(install: Any) -> None:
    source = "import dataclasses\nfrom fxq_core import hookimpl\nfrom fxq_core.reference import REFERENCE\n@hookimpl\n"
    install("fxq-abacus", source + "def fxq_engines():\n    yield dataclasses.replace(REFERENCE, name='abacus')\n")
    assert "abacus" in load().engines
    lowered = fxq.quantize(nn.Linear(2, 2).eval(), [torch.rand(2, 2)], "abacus")
    assert fxq.report(lowered).provider == "fxq-abacus 1.0"


class Shared(nn.Module):
    """One layer for two values; whether its bias needs larger weight scales depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        with torch.no_grad():
            self.layer.weight[0], self.layer.bias[0] = 1e-9, 5.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.layer(x * 0.5)


def test_the_names_in_the_state_do_not_depend_on_the_data(core: fxq.Registry) -> None:
    torch.manual_seed(0)
    x, model = torch.randn(8, 4), Shared().eval()
    small, large = (fxq.quantize(model, [x * size], "reference", registry=core) for size in (1.0, 1e6))
    assert small.state_dict().keys() == large.state_dict().keys()


def test_the_report_tells_the_calibration_that_was_loaded(core: fxq.Registry) -> None:
    lowered, other = (
        fxq.quantize(nn.Linear(3, 2).eval(), [size * X[0, :, 0, :3]], "reference", registry=core) for size in (1, 9)
    )
    other.load_state_dict(lowered.state_dict())
    assert fxq.report(other) == fxq.report(lowered)
