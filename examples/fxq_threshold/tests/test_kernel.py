"""The kernel against float arithmetic on every code: what the conformance suite's data need not hit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings, strategies as st
from torch import nn

import fxq_core as fxq
from fxq_threshold import threshold

# the engines' plugins have spent torch's warning of its quantized dtypes; here nobody has
pytestmark = pytest.mark.filterwarnings("ignore:.*quantized:UserWarning")
CODES = torch.arange(256, dtype=torch.uint8)


def quantized(codes: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return torch._make_per_tensor_quantized_tensor(codes, scale, zero_point)


def expected(codes: torch.Tensor, scale: float, zero_point: int, limit: float) -> torch.Tensor:
    """What the reference engine makes of the codes."""
    floats = F.threshold((codes.float() - zero_point) * scale, limit, 0.0)
    return (torch.round(floats / scale) + zero_point).to(torch.uint8)


@given(st.floats(2.0**-12, 2.0, width=32), st.integers(0, 255), st.integers(0, 255))
@example(0.05855923518538475, 177, 243)
def test_a_limit_on_a_code_is_decided_as_in_float(scale: float, zero_point: int, code: int) -> None:
    limit = ((torch.tensor(code) - zero_point) * scale).item()
    result = threshold(quantized(CODES, scale, zero_point), limit)
    assert torch.equal(result.int_repr(), expected(CODES, scale, zero_point, limit))
    assert (result.q_scale(), result.q_zero_point()) == (scale, zero_point)


@given(st.floats(2.0**-12, 2.0, width=32), st.integers(0, 255), st.floats(-1e6, 1e6))
@example(0.5, 0, float("inf"))
@example(0.5, 0, float("-inf"))
@example(0.5, 0, float("nan"))
def test_any_limit_is_decided_as_in_float(scale: float, zero_point: int, limit: float) -> None:
    result = threshold(quantized(CODES, scale, zero_point), limit)
    assert torch.equal(result.int_repr(), expected(CODES, scale, zero_point, limit))


@settings(max_examples=20)
@given(st.sampled_from([(0, 3), (1, 1), (5, 67)]), st.booleans())
def test_any_layout(shape: tuple[int, int], transposed: bool) -> None:
    codes = (torch.arange(torch.Size(shape).numel()) % 256).to(torch.uint8).reshape(shape)
    codes = codes.t() if transposed else codes
    result = threshold(quantized(codes, 0.5, 10), 3.0)
    assert torch.equal(result.int_repr(), expected(codes, 0.5, 10, 3.0))


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (nn.Threshold(0.1, 20.0), "it puts 20.0 in, which may lie out of its input's range"),
        (
            lambda x: F.threshold(x, x.shape[1] * 0.1, 0.0),
            "its threshold or its value is computed at run time",
        ),
    ],
)
def test_why_one_stays_float(op: object, reason: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.op, self.last = nn.Linear(4, 4), op, nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.op(self.first(x)))

    plan = fxq.Quantizer(Net().eval(), torch.rand(2, 4), usable_engine()).plan
    (verdict,) = (v for v in plan.verdicts if "threshold" in v.op.lower())
    assert (verdict.quantized, verdict.reason, verdict.provider) == (False, reason, "fxq-threshold 0.1.0")


def usable_engine() -> str:
    """Any engine here whose family is torch's."""
    engines = fxq.load_plugins().engines.values()
    return next(engine.name for engine in engines if engine.family == "torch" and engine.reject() is None)
