"""What a node computes on the example is on record: kind, shape, dtype, layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.capture.values import NEVER_RAN, Value, describe, value_of

from support.quantizing import captured, error, int8, quantized


def test_tensors_are_described() -> None:
    x = torch.zeros(2, 3, 4)
    assert describe(x) == Value("tensor", (2, 3, 4), torch.float32, True)
    assert describe(x.transpose(1, 2)) == Value("tensor", (2, 4, 3), torch.float32, False)
    assert describe(x.long()[0, 0, 0]) == Value("tensor", (), torch.int64, True)
    assert (describe(x).rank, describe(x).is_float, describe(x.double()).is_float) == (3, True, False)
    assert str(describe(x.bool())) == "torch.bool tensor"


def test_everything_else_has_a_kind_only() -> None:
    for value, kind in ((3, "int"), ((1, 2), "tuple"), (None, "NoneType"), (torch.eye(2).to_sparse(), "Tensor")):
        assert describe(value) == Value(kind)
        assert str(describe(value)) == kind
        assert not describe(value).is_float


def test_every_node_of_a_captured_graph_has_a_value() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 2, padding="same", padding_mode="circular")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y.view(y.size(0), -1)

    graph: Any = captured(Net(), torch.randn(2, 3, 4, 4)).root.graph
    kinds = {n.name: str(value_of(n)) for n in graph.nodes}
    assert kinds == {
        "x": "torch.float32 tensor", "pad": "torch.float32 tensor", "conv": "torch.float32 tensor", "size": "int",
        "view": "torch.float32 tensor", "output": "torch.float32 tensor",
    }  # fmt: skip
    assert {n.name: value_of(n).shape for n in graph.nodes if n.name in ("pad", "conv")} == {
        "pad": (2, 3, 5, 5),
        "conv": (2, 4, 4, 4),
    }
    graph.nodes.__iter__().__next__().meta.clear()
    assert value_of(next(iter(graph.nodes))) is NEVER_RAN
    assert str(NEVER_RAN) == "nothing: the example never reached it"


def test_a_tuple_of_float_tensors_is_one_value() -> None:
    x = torch.zeros(2, 3)
    for pieces in (x.unbind(1), [x, x[0]]):
        assert describe(pieces) == Value("tensors", tuple(pieces[0].shape), torch.float32, pieces[0].is_contiguous())
        assert describe(pieces).is_float
    for mixed in ((x, x.long()), (x, None), (x.double(),), [], (nn.Parameter(x),)):
        assert describe(mixed).kind in ("tuple", "list")
        assert not describe(mixed).is_float


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(4, 4, dtype=torch.bool).triu(1)
        return self.last(self.first(x).masked_fill(mask, float("-inf")).softmax(-1))


def test_a_mask_does_not_stop_calibration() -> None:
    model, x = Masked(), torch.randn(2, 4, 4)
    lowered = quantized(model, x, x * 2)
    assert int8(lowered).count("linear") == 2
    assert error(model, lowered, x) < 0.03


def test_an_input_that_is_infinite_is_refused() -> None:
    x = torch.randn(2, 4, 4)
    broken = x.clone()
    broken[0, 0, 0] = float("inf")
    for batches in ((x, broken), (broken,)):
        with pytest.raises(fxq.CalibrationError, match=r"^batch \d: node '\w+' gave .*; mend the data or the model$"):
            quantized(Masked(), *batches)
