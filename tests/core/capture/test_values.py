"""What a node computes on the example is on record: kind, shape, dtype, layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fxq_core.capture.values import NEVER_RAN, Value, describe, value_of

from support.quantizing import captured


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
