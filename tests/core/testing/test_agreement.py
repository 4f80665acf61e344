"""Comparing an engine with the reference engine, in whatever form the engine holds its codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import fx, nn

import fxq_core as fxq
from fxq_core.testing.agreement import Agreement, Difference, difference
from fxq_core.weight_only import emit_embedding

from support.distributions import load
from support.plain import PlainPlugin, emit_layer

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Linear(8, 3)).eval()


def agreement(model: nn.Module, x: Any = X, **instead: Any) -> Agreement:
    registry = load(plugins=(PlainPlugin(**instead),))
    return Agreement(fxq.Quantizer(model, x, "plain", registry=registry).calibrate([x]))


def test_difference_says_how_far_and_where() -> None:
    wanted = torch.zeros(2, 3)
    found = wanted.clone()
    found[1, 2], found[0, 1] = 7, -2
    apart = difference(found, wanted + 1)
    assert apart == Difference(codes=6, at=(1, 2), shape=(2, 3), found=7, wanted=1, beyond=2)
    assert str(apart) == (
        "6 codes off at [1, 2] of shape [2, 3]: 7 where the reference engine gives 1; "
        "more than one off: 2 of 6 elements"
    )
    assert str(difference(torch.tensor(3), torch.tensor(4))) == (
        "1 code off at [] of shape []: 3 where the reference engine gives 4; more than one off: 0 of 1 elements"
    )


def test_what_is_no_number_is_far_off_and_nothing_is_not() -> None:
    assert difference(torch.tensor([1.0, float("nan")]), torch.ones(2)).at == (1,)
    assert difference(torch.tensor([float("inf")]), torch.ones(1)).codes > 255
    assert difference(torch.zeros(0, 2), torch.zeros(0, 2)).codes == 0


def test_every_op_is_compared_and_only_ops() -> None:
    found = agreement(network()).differences(X)
    assert list(found) == ["_0", "_1", "_2", "_3"]
    assert max(apart.codes for apart in found.values()) <= 1
    assert found["_3"].shape == (4, 3)


def emit_coarse(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    emitted = emit_layer(match, ctx)
    return ctx.call(torch.bitwise_and, emitted, 0xE0) if match.output.name == "_2" else emitted


def test_an_op_that_is_off_spoils_no_other() -> None:
    """Each op gets the reference's inputs, whatever the one before it made of its own."""
    found = agreement(network(), linear=emit_coarse).differences(X)
    assert 1 < found["_2"].codes < 32
    assert {node: apart.codes for node, apart in found.items() if node != "_2" and apart.codes > 1} == {}


class Part(nn.Module):
    """What can't be traced: its parts are quantized one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = network(), network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x) if float(x.detach().sum()) > 1e9 else self.two(x)


def test_parts_are_compared_where_they_were_reached() -> None:
    x = X.clone()
    found = agreement(Part().eval(), x).differences(x)
    assert found
    assert all(node.startswith("two.") for node in found)


def test_the_reference_runs_the_plan_of_the_engine() -> None:
    made = agreement(network())
    rows = [
        [(r.node, r.quantized, r.pattern, r.scale) for r in fxq.report(m).rows] for m in (made.lowered, made.reference)
    ]
    assert rows[0] == rows[1]
    assert fxq.report(made.reference).engine == "reference"


def test_a_weight_only_op_is_compared_in_steps() -> None:
    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.layer = nn.Embedding(9, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.table(x))

    def emit_doubled(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        return ctx.call(torch.mul, emit_embedding(match, ctx), 2)

    x = torch.arange(6).reshape(2, 3)
    assert {n: d.codes for n, d in agreement(Look().eval(), x, embedding=emit_embedding).differences(x).items()} == {
        "table": 0, "layer": 0,
    }  # fmt: skip
    found = agreement(Look().eval(), x, embedding=emit_doubled).differences(x)
    assert (found["table"].codes, found["layer"].codes) == (127, 0)


def test_a_result_of_another_shape() -> None:
    def emit(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        return ctx.call(torch.flatten, emit_layer(match, ctx))

    with pytest.raises(AssertionError) as caught:
        agreement(network(), linear=emit).differences(X)
    assert str(caught.value) == "node '_0' has shape [32] where the reference engine gives [4, 8]"
