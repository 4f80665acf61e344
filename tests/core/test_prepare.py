"""The watched float model: an ordinary module whose observers are state; a failed batch leaves no trace."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.observers import NonFiniteError

from support.quantizing import assert_same, quantizer, run

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.log(self.stem(x)).exp().mean((2, 3)))


class Branch(nn.Module):
    """Two parts, since the control flow between them can't be traced."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, poison: float = 0.0) -> torch.Tensor:
        y = self.first(x)
        if y.sum() > 1e9:
            raise ValueError("too much")
        return self.second(y / (1 - poison))


def plain(model: nn.Module) -> dict[str, Any]:
    """The state of the observers, as something that compares."""
    return {name: repr(value) for name, value in model.state_dict().items() if "extra_state" in name}


def positive() -> nn.Module:
    model = Net().eval()
    nn.init.constant_(model.stem[0].bias, 9.0)  # so that the logarithm is finite on ordinary data
    return model


def test_it_computes_what_the_model_does() -> None:
    model = positive()
    q = quantizer(model, X)
    assert_same(run(q.prepared, X), run(model, X))
    assert_same(q.observe(X), run(model, X))
    assert q.batches == 1


def test_its_observers_are_state() -> None:
    q, other = (quantizer(positive(), X) for _ in range(2))
    q.calibrate([X, 2 * X])
    file = io.BytesIO()
    torch.save(q.prepared.state_dict(), file)
    file.seek(0)
    other.prepared.load_state_dict(torch.load(file, weights_only=True))
    assert plain(other.prepared) == plain(q.prepared)
    assert torch.equal(run(other.quantize(), X), run(q.quantize(), X))
    for quantization in (q, other):
        quantization.observe(3 * X)
    assert torch.equal(run(other.quantize(), X), run(q.quantize(), X))


def test_the_state_of_another_model_is_refused() -> None:
    state = quantizer(positive(), X).prepared.state_dict()
    extra = next(name for name in state if "extra_state" in name)
    state[extra] = {"batches": 1, "observers": {}}
    with pytest.raises(ValueError, match=r"^the calibration state belongs to another model or plan$"):
        quantizer(positive(), X).prepared.load_state_dict(state)


def poisoned(value: float) -> torch.Tensor:
    x = X.clone()
    x[0, 0, 0, :2] = value
    return x


def raises(kind: type[Exception], action: Callable[[], Any]) -> str:
    with pytest.raises(kind) as raised:
        action()
    assert type(raised.value) is kind
    return str(raised.value)


def test_what_is_not_finite_is_placed_whole() -> None:
    q = quantizer(positive(), X)
    assert raises(NonFiniteError, lambda: q.observe(poisoned(float("nan")))) == (
        "batch 0: node 'x' gave 2 NaN and 0 Inf among 216 values; mend the data or the model"
    )
    q.observe(X)
    before = plain(q.prepared)
    # the convolution's own output is finite: the logarithm of a negative number is not, after the relu of another node
    assert raises(NonFiniteError, lambda: q.calibrate([X, poisoned(float("-inf"))])) == (
        "batch 2: node 'x' gave 0 NaN and 2 Inf among 216 values; mend the data or the model"
    )
    assert q.batches == 2
    assert plain(q.prepared) != before


def test_the_module_is_named_where_there_is_one() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.Linear(4, 4)).eval()
    with torch.no_grad():
        model[0][0].weight.fill_(3e38)
    q = quantizer(model, torch.zeros(2, 4))
    assert raises(NonFiniteError, lambda: q.observe(torch.ones(2, 4))) == (
        "batch 0: node '_0_0' of module '0.0' gave 0 NaN and 8 Inf among 8 values; mend the data or the model"
    )


@pytest.mark.parametrize(
    ("model", "good", "bad"),
    [
        (positive(), (X,), (poisoned(float("nan")),)),
        (positive(), (X,), (X[:, :2],)),
        (Branch(), (X[0, 0, :, :4],), (X[0, 0, :, :4], 1.0)),
        (Branch(), (X[0, 0, :, :4],), (X[0, 0, :, :4], 1.0, 2)),
    ],
)
def test_a_failed_batch_leaves_every_observer_as_it_was(model: nn.Module, good: Any, bad: Any) -> None:
    q = quantizer(model, good).calibrate([good, good])
    before, lowered = plain(q.prepared), q.quantize()
    with pytest.raises(fxq.CalibrationError):
        q.observe(*bad)
    assert plain(q.prepared) == before
    assert q.batches == 2
    assert_same(run(q.quantize(), *good), run(lowered, *good))


def test_a_batch_that_the_model_refuses() -> None:
    q = quantizer(nn.Sequential(nn.Linear(4, 4)), torch.zeros(2, 4))
    assert raises(fxq.CalibrationError, lambda: q.calibrate([torch.zeros(2, 3)])) == (
        "batch 0: the model refused it (RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x4)); "
        "give batches like the example inputs"
    )


def test_a_value_that_was_empty_in_every_batch() -> None:
    q = quantizer(nn.Sequential(nn.Linear(4, 4)), torch.zeros(2, 4)).calibrate([torch.zeros(0, 4)])
    assert raises(fxq.CalibrationError, q.quantize) == (
        "node 'input_1': no observed tensor held a value; calibrate with batches that hold data"
    )
    q.observe(torch.ones(1, 4))
    q.quantize()


def test_a_value_that_is_a_tensor_only_in_the_example() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, parts: list[Any]) -> torch.Tensor:
            return self.layer(self.layer(parts[0]) + parts[1])

    q = quantizer(Odd(), ([torch.ones(2, 4), torch.ones(2, 4)],))
    assert raises(fxq.CalibrationError, lambda: q.observe([torch.ones(2, 4), 1.0])) == (
        "batch 0: node 'getitem_1' gave a float where the example had a tensor"
    )


def test_in_a_loop_of_ones_own() -> None:
    q = quantizer(positive(), X)
    for scale in (1.0, 2.0):
        q.prepared(scale * X)
    other = quantizer(positive(), X).calibrate([X, 2 * X])
    assert plain(q.prepared) == plain(other.prepared)


def test_what_comes_out_can_be_changed_by_the_caller() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            return {"all": [self.layer(x)]}

    result = quantizer(Lists(), torch.ones(2, 4)).observe(torch.ones(2, 4))
    assert (type(result), type(result["all"])) == (dict, list)
    result["all"].append(1)


def test_observing_goes_on_after_quantizing() -> None:
    q = quantizer(positive(), X)
    assert raises(fxq.CalibrationError, q.quantize) == (
        "the model was never calibrated; run calibrate(batches) or observe(batch) first"
    )
    q.observe(X)
    first = q.quantize()
    expected = run(first, X)
    q.observe(5 * X)
    assert not torch.equal(run(q.quantize(), X), expected)
    assert torch.equal(run(first, X), expected)
