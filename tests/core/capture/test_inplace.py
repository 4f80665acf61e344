"""In-place ops: out-of-place where nobody else can see the memory, float where somebody can; never another result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.capture.values import REASON

from support.quantizing import captured, error, patterns, quantized, quantizer, run

X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
Form = Callable[[Any, torch.Tensor], Any]


class Net(nn.Module):
    """Two convolutions and an in-place activation, used as a function says."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.conv, self.conv2 = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.relu, self.dropout = nn.ReLU(inplace=True), nn.Dropout(0.5, inplace=True)
        self.register_buffer("cache", torch.randn(2, 4, 4, 4))

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, x)


def form(*statements: str) -> Form:
    """A forward pass from statements over ``m``, ``x`` and ``y``, the output of a convolution."""
    body = "\n".join(f"    {line}" for line in ("y = m.conv(x)", *statements))
    namespace: dict[str, Any] = {"F": F, "torch": torch}
    exec(f"def forward(m, x):\n{body}\n", namespace)
    return namespace["forward"]  # type: ignore[no-any-return]


def reasons(model: nn.Module) -> dict[str, str]:
    graph: Any = captured(model, X).root
    return {n.name: n.meta[REASON] for n in graph.graph.nodes if REASON in n.meta}


PRIVATE = [
    "z = y.relu_()",
    "z = F.relu(y, inplace=True)",
    "z = torch.relu_(y)",
    "z = F.relu_(y)",
    "z = m.relu(y)",
    "z = F.hardtanh_(y, -0.6, 0.5)",
    "z = F.relu6(y, inplace=True)",
    "z = y.clamp_(-0.6, 0.5)",
    "z = y.clamp_(min=0.1)",
    "z = F.leaky_relu_(y, 0.2)",
    "z = F.silu(y, inplace=True)",
    "z = y.sigmoid_()",
    "z = m.dropout(y)",
    "z = y.add_(m.conv2(y))",
    "z = y.mul_(2.0)",
    "y += m.conv2(y); z = y",
    "y *= 3; z = y",
    "y -= y.mean(); z = y",
    "y /= 2; z = y",
    "z = y.relu_().add_(1).mul_(2)",
]
# the written value is read again: every reader must see what was written
READ_AGAIN = ["y + z", "m.conv2(y)", "m.conv2(y) + z", "torch.cat([z, y], 1)", "(y, z)", "{'a': y.flatten(1)}"]


@pytest.mark.parametrize("result", ["z", *READ_AGAIN])
@pytest.mark.parametrize("statement", PRIVATE)
def test_what_nobody_else_sees_becomes_out_of_place(statement: str, result: str) -> None:
    assert reasons(Net(form(statement, f"return {result}"))) == {}


@pytest.mark.parametrize("statement", PRIVATE)
def test_what_becomes_out_of_place_can_be_int8(statement: str) -> None:
    model = Net(form(statement, "return m.conv2(y) + z"))
    lowered = quantized(model, X)
    assert {"conv", "conv2"} <= {row.node for row in fxq.report(lowered).rows if row.quantized}
    assert error(model, lowered, X) < 0.05


OTHER_WRITERS = [
    "z = F.leaky_relu(y, 0.2, True)",
    "z = F.relu(y, True)",
    "z = F.hardtanh(y, -0.6, 0.5, True)",
    "z = F.elu(y, 1.0, True)",
    "z = F.dropout(y, 0.5, False, True)",
    "z = y.fill_(2.0)",
    "z = y.copy_(x[:, :1])",
    "z = y.neg_()",
    "z = y.masked_fill_(y < 0, -1.0)",
    "z = y; y **= 2",
    "z = torch.tanh(x[:, :1].expand(2, 4, 4, 4)); torch.sigmoid(y, out=z)",
]


@pytest.mark.parametrize("result", READ_AGAIN[:4])
@pytest.mark.parametrize("statement", OTHER_WRITERS)
def test_every_way_to_write_is_noticed(statement: str, result: str) -> None:
    model = Net(form(statement, f"return {result}"))
    captured(model, X)
    assert error(model, quantized(model, X), X) < 0.05


# rounding before a step moves it, so these are compared in float only
@pytest.mark.parametrize(
    "statement", ["z = y; y //= 0.1", "z = y; y %= 0.5", "z = y.zero_()", "z = y.floor_()", "z = y.sign_()"]
)
def test_every_way_to_write_steps_is_noticed(statement: str) -> None:
    for result in ("y + z", "m.conv2(y)"):
        captured(Net(form(statement, f"return {result}")), X)


VIEWS = [
    ("v = y.flatten(1); y.relu_()", "m.conv2(y) + v.reshape(2, 4, 4, 4)"),
    ("v = y.view(2, -1); v.relu_()", "m.conv2(y)"),
    ("v = y[:, 0]; v.add_(3)", "m.conv2(y)"),
    ("a, b = y.chunk(2, 1); a.relu_()", "m.conv2(y) + torch.cat([a, b], 1)"),
    ("a, b = torch.split(y, 2, 1); b *= 2", "torch.cat([a, b], 1) + y"),
    ("v = y.transpose(1, 2); v.mul_(2)", "m.conv2(y)"),
    ("v = y.detach(); v.add_(3)", "m.conv2(y)"),
    ("v = y.contiguous(); v.add_(3)", "m.conv2(y)"),
    ("v = y.to(torch.float32); v += 3", "m.conv2(y)"),
    ("v = m.dropout(y); v.add_(3)", "m.conv2(y)"),
    ("v = F.dropout(y, training=False); v.add_(3)", "m.conv2(y)"),
    ("v = y.permute(0, 2, 3, 1); m.relu(y)", "(v, m.conv2(m.relu(y)))"),
    ("v = y.squeeze(0).unsqueeze(1); v.clamp_(-0.6, 0.5)", "m.conv2(y)"),
    ("before = m.conv2(y); v = y[:, :2]; v.add_(3)", "before + m.conv2(y)"),
    ("before = m.conv2(y); v = y.detach(); v.mul_(3)", "before + m.conv2(y)"),
]


@pytest.mark.parametrize(("statement", "result"), VIEWS)
def test_a_write_through_a_view_is_seen_by_every_reader(statement: str, result: str) -> None:
    model = Net(form(statement, f"return {result}"))
    captured(model, X)
    assert error(model, quantized(model, X), X) < 0.05


def test_a_write_into_the_input_stays_and_says_so() -> None:
    model = Net(lambda m, x: m.conv(x.mul_(2)))
    why = "mul_ writes in place into memory of the input 'x', which the caller can see"
    assert reasons(model) == {"mul_": why}
    lowered, x = quantized(model, X), X.clone()
    with torch.no_grad():
        lowered(x)
    assert torch.equal(x, 2 * X)  # the int8 model does to its inputs what the float one does


@pytest.mark.parametrize("write", ["x.add_(5)", "x += 5", "x[:, 0].mul_(9)", "F.relu(x, inplace=True)", "m.relu(x)"])
def test_an_input_that_is_read_before_and_after_a_write(write: str) -> None:
    model = Net(form(write, "return y + m.conv(x)"))
    captured(model, X)
    lowered = quantized(model, X)
    assert error(model, lowered, X) < 0.05


def test_calibration_leaves_the_callers_tensors() -> None:
    model = Net(lambda m, x: m.conv(x.mul_(2)))
    x = X.clone()
    q = quantizer(model, x)
    q.observe(x)
    q.calibrate([x, (x,), {"x": x}])
    assert torch.equal(x, X)


def test_a_write_into_a_parameter_stays_and_says_so() -> None:
    model = Net(lambda m, x: m.conv(x) * m.conv2.bias.mul_(1.0).sum())
    assert reasons(model)["mul_"] == "mul_ writes in place into memory of 'conv2.bias', which the module keeps"


def test_a_buffer_that_is_overwritten_is_no_constant() -> None:
    def keep(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = m.conv(x)
        m.cache.copy_(x[:, :1])
        return y + m.cache

    model = Net(keep).eval()
    lowered = quantized(model, X)
    assert error(model, lowered, X.flip(0)) < 0.05


def test_a_reason_names_the_reader() -> None:
    model = Net(form("v = y[:, 0]", "v.add_(3)", "return m.conv2(y)"))
    why = "add_ writes in place into memory that conv shares and is read again later"
    assert reasons(model) == {"getitem": why, "add_": why}
    # the convolution itself is int8: what is written into is its result in float, which every reader takes
    assert patterns(quantized(model, X)) == {"conv": "conv2d"}


def test_numbers_have_no_memory() -> None:
    def count(m: Any, x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        before = rows
        rows += 1
        return m.conv(x) * rows + before

    assert reasons(Net(count)) == {}


def test_an_attribute_called_inplace_of_a_users_module_is_left_alone() -> None:
    class Own(nn.Module):
        inplace = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if self.inplace else x - 1

    model = nn.Sequential(nn.Conv2d(3, 4, 1), Own())
    model[1].inplace = True
    model[1].register_forward_hook(lambda *_: None)  # stays a module of its own
    graph: Any = captured(model, X).root
    assert graph.get_submodule("1").inplace is True


def test_an_activation_that_is_unsafe_once_stays_in_place_everywhere() -> None:
    model = Net(lambda m, x: m.conv(m.relu(x)) + m.relu(m.conv(x + 1)))
    graph: Any = captured(model, X).root
    assert graph.relu.inplace is True
    model = Net(lambda m, x: m.conv(x) + m.relu(m.conv(x + 1)))
    graph = captured(model, X).root
    assert graph.relu.inplace is False
    x = X.clone()
    run(model, x)
    assert model.relu.inplace is True
