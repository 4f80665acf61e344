"""A photo sees whatever quantizing may not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from fxq_core.testing.photo import photo_of_model, photo_of_process


def make() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU()).eval()


CHANGES: dict[str, Callable[[Any], Any]] = {
    "tensor '0.weight'": lambda m: m[0].weight.data.add_(1),
    "tensor '1.running_mean'": lambda m: m[1].running_mean.add_(1),
    "the identity of tensor '0.bias'": lambda m: setattr(m[0], "bias", nn.Parameter(m[0].bias.data.clone())),
    "the training flag of module '1'": lambda m: m[1].train(),
    "the attributes of module '2'": lambda m: setattr(m[2], "inplace", True),
    "the attributes of the root": lambda m: setattr(m, "note", 1),
    "the hooks of module '0'": lambda m: m[0].register_forward_hook(lambda *a: None),
    "the type of module '2'": lambda m: m.__setitem__(2, nn.ReLU().eval()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_of_a_model_is_named(what: str) -> None:
    model = make()
    before = photo_of_model(model)
    assert before.changes(photo_of_model(model)) == []
    CHANGES[what](model)
    assert before.changes(photo_of_model(model)) == [what]


@pytest.fixture
def restored() -> Iterator[None]:
    kept = torch.get_rng_state(), torch.get_num_threads(), torch.backends.quantized.engine
    yield
    torch.set_rng_state(kept[0])
    torch.set_num_threads(kept[1])
    torch.backends.quantized.engine = kept[2]
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)


def another_engine() -> None:
    current = torch.backends.quantized.engine
    torch.backends.quantized.engine = next(e for e in torch.backends.quantized.supported_engines if e != current)


GLOBALS: dict[str, Callable[[], Any]] = {
    "torch's engine": another_engine,
    "the random state": lambda: torch.rand(1),
    "the default dtype": lambda: torch.set_default_dtype(torch.float64),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "the number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "deterministic mode": lambda: torch.use_deterministic_algorithms(True),
}


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("what", GLOBALS)
def test_what_changes_of_the_process_is_named(what: str) -> None:
    before = photo_of_process()
    assert before.changes(photo_of_process()) == []
    GLOBALS[what]()
    assert before.changes(photo_of_process()) == [what]
