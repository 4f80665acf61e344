"""Each op that stays float has the line of the user's code that it stands for."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
import torch
from torch import fx, nn

import fxq_core as fxq
from fxq_core.capture import capture
from fxq_core.capture.location import located, location_of, why

from support.quantizing import quantized, quantizer

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def twice(function: Any) -> Any:
    @functools.wraps(function)
    def wrapped(*args: Any) -> Any:
        return 2 * function(*args)

    return wrapped


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layers(x)
        y = self.cumulated(x)
        return self.attention(y, y, y, need_weights=False)[0]

    @twice
    def cumulated(self, x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(0)


def line(function: Any, offset: int) -> str:
    return f"test_location.py:{inspect.getsourcelines(inspect.unwrap(function))[1] + offset}"


WHERE = {
    "layers_1": line(Net.forward, 1),
    "cumsum": line(Net.cumulated, 2),
    "mul": line(twice, 3),
    "scaled_dot_product_attention": line(Net.forward, 3),
}


def test_the_innermost_line_of_the_users_own_code() -> None:
    (part,) = capture(Net().eval(), ((X,), {})).parts.values()
    found = {node.name: location_of(node) for node in part.graph.nodes}
    assert WHERE.items() <= found.items()
    assert found["x"] == found["output"] == ""


def test_the_plan_and_the_report_show_it_for_float_ops() -> None:
    plan = quantizer(Net(), X).plan
    verdicts = {v.node: v for v in plan.verdicts}
    cumsum = verdicts["cumsum"]
    assert (cumsum.quantized, cumsum.where) == (False, WHERE["cumsum"])
    assert f"{cumsum.reason} ({WHERE['cumsum']})" in str(plan)
    assert all(not v.where for v in plan.verdicts if v.quantized or v.op in ("placeholder", "output"))
    report = fxq.report(quantized(Net(), X))
    assert f"{cumsum.reason} ({WHERE['cumsum']})" in str(report)
    assert next(row.where for row in report.rows if row.node == "cumsum") == WHERE["cumsum"]


def test_a_root_of_torchs_own_stands_nowhere() -> None:
    (part,) = capture(nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1)).eval(), ((X,), {})).parts.values()
    assert {location_of(node) for node in part.graph.nodes} == {""}


def test_generated_code_is_nowhere() -> None:
    (part,) = capture(fx.symbolic_trace(nn.Sequential(nn.Softmax(-1))).eval(), ((X,), {})).parts.values()
    assert {location_of(node) for node in part.graph.nodes} == {""}


def test_why_names_the_file_and_not_the_folder() -> None:
    def fails() -> None:
        raise ValueError("no way.\nAnd more")

    with pytest.raises(ValueError, match="no way") as raised:
        fails()
    assert why(raised.value) == f"it can't be traced: {line(fails, 1)}: ValueError: no way"
    assert why(KeyError()) == "it can't be traced: KeyError: "


def test_a_reason_with_its_line() -> None:
    assert located("too small", "net.py:3") == "too small (net.py:3)"
    assert located("too small", "") == "too small"
