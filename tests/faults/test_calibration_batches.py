"""C2, C3, C7 to C10: how many batches there are, and what they hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree

import fxq_core as fxq

from support.small import Small, batches, small

X = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
NET = nn.Sequential(nn.Linear(4, 3)).eval()


def error(kind: type[Exception], action: Any) -> str:
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)


def test_C2_no_batch_is_an_error(registry: fxq.Registry) -> None:
    text = "there is no batch to calibrate with; give an iterable of at least one batch"
    for empty in ([], iter(()), ()):
        assert error(fxq.CalibrationError, lambda e=empty: fxq.quantize(NET, e, "reference", registry=registry)) == text
    q = fxq.Quantizer(NET, X, "reference", registry=registry)
    assert error(fxq.CalibrationError, lambda: q.calibrate([])) == text
    text = "the model was never calibrated; run calibrate(batches) or observe(batch) first"
    assert error(fxq.CalibrationError, q.quantize) == text


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.often, self.never = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.never(x) if x.sum() > 1e9 else self.often(x)


def test_C2_a_branch_that_no_batch_takes_stays_float(registry: fxq.Registry) -> None:
    qmodel = fxq.quantize(Branch().eval(), [X], "reference", registry=registry)
    report = fxq.report(qmodel)
    assert dict(report.notes)["never"] == "the example never reached it"
    assert [(row.module, row.quantized) for row in report.rows if row.op == "Linear"] == [("often", True)]
    assert torch.equal(qmodel(X + 1e9), qmodel.never(X + 1e9))


class Turn(Branch):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.often(x) + (self.never(x) if x.sum() > 1e9 else 0)


def test_C2_one_that_only_the_example_takes_does_too(registry: fxq.Registry) -> None:
    qmodel = fxq.Quantizer(Turn().eval(), X + 1e9, "reference", registry=registry).calibrate([X]).quantize()
    rows = {row.module: row for row in fxq.report(qmodel).rows if row.op == "Linear"}
    assert rows["often"].quantized
    assert (rows["never"].quantized, rows["never"].reason) == (False, "no calibration batch reached it")


def test_C3_batches_are_taken_once_and_in_order(registry: fxq.Registry) -> None:
    taken: list[int] = []

    def stream() -> Iterator[torch.Tensor]:
        for number in range(5):
            taken.append(number)
            yield X

    generator = stream()
    fxq.quantize(NET, generator, "reference", registry=registry)
    assert taken == [0, 1, 2, 3, 4]
    assert list(generator) == []


def test_C3_few_samples_are_warned_of(registry: fxq.Registry) -> None:
    with pytest.warns(fxq.FewSamplesWarning) as caught:
        fxq.quantize(NET, [X[:15], X[:16]], "reference", registry=registry)
    assert [str(w.message) for w in caught] == [
        "Sequential was calibrated with 31 of at least 32 samples; values outside of the ranges they show are clipped, "
        "so give more that are like those to come"
    ]
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fxq.quantize(NET, [X[:16], {"input": X[:16]}], "reference", registry=registry)


def test_C7_empty_batches_change_no_range_and_give_the_right_shape(engine: str, registry: fxq.Registry) -> None:
    net, empty, given = Small().eval(), torch.empty(0, 3, 8, 8), batches()
    q = fxq.Quantizer(net, given[0], engine, registry=registry).calibrate([empty, *given, empty])
    qmodel = q.quantize()
    assert qmodel(empty).shape == (0, 4)
    assert torch.equal(qmodel(given[0]), small(engine, registry)(given[0]))


def test_C8_shapes_may_vary_before_and_after(engine: str, registry: fxq.Registry) -> None:
    net = Small().eval()
    shapes = [(16, 3, 8, 8), (16, 3, 12, 7), (3, 3, 5, 16)]
    given = [torch.randn(shape, generator=torch.Generator().manual_seed(4)) for shape in shapes]
    qmodel = fxq.quantize(net, given, engine, registry=registry)
    for x in (*given, torch.randn(1, 3, 21, 4)):
        result, expected = qmodel(x), net(x)
        assert result.shape == expected.shape
        assert (result - expected).norm() < 0.2 * expected.norm()


@dataclass
class Result:
    logits: torch.Tensor
    count: int


_pytree.register_dataclass(Result) if hasattr(_pytree, "register_dataclass") else None


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, index: torch.Tensor, mask: torch.Tensor, name: str) -> dict[str, Any]:
        y = self.fc(x)
        return {"name": name, "pair": (y, index + 1), "kept": mask, "list": [y.argmax(1), 3]}


def test_C9_what_is_no_float_tensor_passes(registry: fxq.Registry) -> None:
    index, mask = torch.arange(32), torch.ones(32, dtype=torch.bool)
    qmodel = fxq.quantize(Mixed().eval(), [(X, index, mask, "a")], "reference", registry=registry)
    result = qmodel(X, index, mask, "a")
    assert (type(result), type(result["pair"]), type(result["list"])) == (dict, tuple, list)
    assert (result["name"], result["list"][1]) == ("a", 3)
    assert torch.equal(result["pair"][1], index + 1)
    assert torch.equal(result["kept"], mask)
    assert (result["pair"][0].dtype, result["kept"].dtype) == (torch.float32, torch.bool)


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(4, 3))

    def forward(self, x: torch.Tensor) -> Result:
        return Result(self.fc(x), x.shape[0])


def test_C9_a_dataclass_stays_one(registry: fxq.Registry) -> None:
    net = Wrapped().eval()
    result = fxq.quantize(net, [X], "reference", registry=registry)(X)
    assert (type(result), result.count) == (Result, 32)
    assert (result.logits - net(X).logits).abs().max() < 0.1


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (lambda m: m.half(), "is torch.float16; call model.float() before quantizing"),
        (lambda m: m.bfloat16(), "is torch.bfloat16; call model.float() before quantizing"),
        (lambda m: m.double(), "is torch.float64; call model.float() before quantizing"),
        (lambda m: m.to("meta"), "is on device meta; call model.cpu() before quantizing"),
    ],
)
def test_C10_another_dtype_or_device_is_placed(convert: Any, text: str, registry: fxq.Registry) -> None:
    net = nn.Sequential(nn.Sequential(nn.ReLU(), convert(nn.Linear(4, 3)))).eval()
    told = error(fxq.CaptureError, lambda: fxq.quantize(net, [X], "reference", registry=registry))
    assert told == f"'weight' of module '0.1' (Linear) {text}"


def test_C10_what_is_quantized_is_not_quantized_again(engine: str, registry: fxq.Registry) -> None:
    qmodel = nn.Sequential(small(engine, registry)).eval()
    told = error(fxq.CaptureError, lambda: fxq.quantize(qmodel, batches(1), engine, registry=registry))
    assert told == "module '0' (QuantizedModule) is quantized already; quantize the float model it was made from"
