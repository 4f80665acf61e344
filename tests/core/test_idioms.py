"""How people write networks: idioms that once lost int8, crashed or gave other numbers on a second call."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

from support.quantizing import CORE, int8, quantized, run

X = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """Layers for a function to use."""

    def __init__(self, form: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.stem, self.body, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)
        self.up, self.norm = nn.ConvTranspose2d(8, 8, 2, 2), nn.BatchNorm2d(8)
        self.weight = nn.Parameter(torch.randn(8, 3, 3, 3))
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 3, dtype=torch.uint8))
        self.wide, self.noise, self.count = nn.LayerNorm((4, 4)), Noise(), 0

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


class Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.01 * torch.randn(8).reshape(8, 1, 1)


def pooled(y: torch.Tensor) -> torch.Tensor:
    return y.mean((2, 3))


def size_before_in_place(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.stem(x)
    n, c = y.size(0), y.shape[1]
    y = F.relu(y, inplace=True)
    return m.head(pooled(m.body(y)).view(n, c))


def in_place_after_up(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = F.relu(m.up(m.stem(x)), inplace=True)
    return pooled(m.body(y)) + pooled(y)


def pyramid(m: Any, x: torch.Tensor) -> torch.Tensor:
    levels = [m.stem(x), F.max_pool2d(m.stem(x), 2)]
    levels[0] += F.interpolate(levels[1], size=levels[0].shape[-2:])
    return pooled(m.body(levels[0]))


def standardized_then_norm(m: Any, x: torch.Tensor) -> torch.Tensor:
    weight = m.weight - m.weight.mean((1, 2, 3), keepdim=True)
    return m.norm(F.conv2d(x, weight, padding=1))


def standardized_same(m: Any, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, F.normalize(m.weight), padding="same")


def written_through_a_view(m: Any, x: torch.Tensor) -> torch.Tensor:
    first, second = m.stem(x).chunk(2, 1)
    first.relu_()
    return m.body(torch.cat([second, first], 1))


def bytes_subtracted(m: Any, x: torch.Tensor) -> torch.Tensor:
    return pooled(m.stem(x - m.mean))


def last_level(m: Any, x: torch.Tensor) -> Any:
    y = m.stem(x)
    return y, F.max_pool2d(y, 1, 2, 0)


def layers(lowered: nn.Module) -> list[bool]:
    """Whether each convolution or linear layer of a model is int8."""
    kinds = {"Conv2d", "ConvTranspose2d", "Linear", "conv2d"}
    return [row.quantized for row in fxq.report(lowered).rows if row.op in kinds]


@pytest.mark.parametrize(
    ("form", "count"),
    [
        (size_before_in_place, 3),
        (in_place_after_up, 3),
        (pyramid, 3),
        (standardized_then_norm, 1),
        (standardized_same, 1),
        (written_through_a_view, 2),
        (bytes_subtracted, 1),
    ],
)
def test_every_layer_is_int8(form: Callable[..., Any], count: int) -> None:
    model = Net(form).eval()
    lowered = quantized(model, X)
    assert layers(lowered) == [True] * count
    for _ in range(2):
        wanted, got = run(model, X), run(lowered, X)
        assert (got - wanted).norm() < 0.05 * wanted.norm()


def accumulated(m: Any, x: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(4, 8, 14, 14)
    total += m.stem(x)
    return m.body(total)


def filled(m: Any, x: torch.Tensor) -> torch.Tensor:
    rows = torch.zeros(4, 8, 14, 14)
    rows[:2].copy_(m.stem(x)[2:])
    rows[2:].add_(m.stem(x)[:2])
    return m.body(rows)


def counted(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.count += 1
    return m.stem(x) * m.count


def drawn(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.stem(x) * (1 + random.random())


@pytest.mark.parametrize("form", [accumulated, filled, drawn])
def test_what_a_trace_would_freeze_is_not_frozen(form: Callable[..., Any]) -> None:
    model = Net(form).eval()
    lowered = quantized(model, X)
    for call in range(3):
        random.seed(call)
        wanted = run(model, X)
        random.seed(call)
        got = run(lowered, X)
        assert (got - wanted).norm() < 0.05 * wanted.norm()


def test_a_count_goes_on() -> None:
    lowered = quantized(Net(counted).eval(), X)
    first, second, third = (run(lowered, X) for _ in range(3))
    assert torch.allclose(third - second, second - first, atol=1e-5)
    assert not torch.equal(first, second)


def chaotic(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.norm(m.stem(x)).sigmoid()
    for _ in range(60):
        y = 4 * y * (1 - y)
    return y


def test_a_model_that_amplifies_rounding_is_not_blamed_for_it() -> None:
    model = Net(chaotic).eval()
    nn.init.uniform_(model.norm.running_var, 0.5, 2)
    plan = fxq.Quantizer(model, X, "reference", registry=CORE).plan
    assert [part.path for part in plan.parts] == [""]
    assert plan.notes == {"norm": "folded into stem"}


def test_noise_costs_only_the_module_that_makes_it() -> None:
    model = Net(lambda m, x: m.head(pooled(m.noise(m.body(m.stem(x)))))).eval()
    lowered = quantized(model, X)
    assert layers(lowered) == [True] * 3
    notes = {"noise": "it draws random numbers, which a trace would freeze"}
    assert dict(fxq.report(lowered).notes) == notes


def test_a_weight_that_is_dropped_at_random_is_drawn_anew() -> None:
    model = Net(lambda m, x: m.body(m.stem(x)) + F.dropout(m.wide.weight, 0.5).sum()).eval()
    lowered = quantized(model, X)
    assert layers(lowered) == [True] * 2
    torch.manual_seed(0)
    with torch.no_grad():
        results = [lowered(X) for _ in range(4)]
    assert len({float(result.mean()) for result in results}) > 1


def test_other_numbers_of_pieces_are_refused() -> None:
    model = Net(lambda m, x: torch.cat([F.relu(p) for p in m.stem(x).chunk(4, dim=3)], 3)).eval()
    lowered = quantized(model, X)
    assert run(lowered, X[..., :15, :14]).shape == (4, 8, 13, 12)
    with pytest.raises(fxq.CaptureError) as caught:
        run(lowered, X[..., :7])
    assert str(caught.value) == (
        "a tensor was split into 4 pieces in the example that this model was quantized with and into 3 now; "
        "quantize again with an example of this size"
    )


def test_a_pool_that_stays_float_can_be_pickled() -> None:
    model = Net(last_level).eval()
    lowered = quantized(model, X)
    for twin in (copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):
        assert torch.equal(run(twin, X)[1], run(lowered, X)[1])


def test_a_norm_over_several_dimensions_is_no_filter_bank() -> None:
    model = nn.Sequential(nn.Tanh(), nn.LayerNorm((4, 4)), nn.Softplus()).eval()
    with pytest.warns(fxq.NothingQuantizedWarning):
        assert int8(quantized(model, torch.randn(2, 4, 4))) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrappers_of_torch_are_looked_into_or_named() -> None:
    assert "linear" in int8(quantized(nn.DataParallel(nn.Linear(4, 4)).eval(), torch.randn(2, 4)))
    with pytest.raises(fxq.CaptureError) as caught:
        quantized(torch.compile(nn.Linear(4, 4)).eval(), torch.randn(2, 4))
    assert str(caught.value) == (
        "the model is compiled; quantize the one that torch.compile was given, which is model._orig_mod"
    )
    scripted = torch.jit.trace(nn.Linear(4, 4).eval(), torch.randn(2, 4))
    with pytest.raises(fxq.CaptureError) as caught:
        quantized(nn.Sequential(scripted), torch.randn(2, 4))
    assert str(caught.value) == (
        "module '0' (TopLevelTracedModule) is TorchScript; quantize the Python model that it was made from"
    )
