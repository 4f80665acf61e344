"""One plan with some of its units in float: what is int8 then, why, and that it runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.variants import Unit, Variants, float_model
from fxq_core.matching import Refusal

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
WHY = Refusal("the test says so", "the test")


class Chunked(nn.Module):
    """A tuple in int8 between two layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.first(x).chunk(2, -1)
        return self.last(torch.cat([other, one], -1))


@pytest.fixture
def quantizer(core: fxq.Registry) -> fxq.Quantizer:
    return fxq.Quantizer(Chunked().eval(), X, "reference", registry=core)


@pytest.fixture
def variants(quantizer: fxq.Quantizer) -> Variants:
    quantizer.calibrate([X])
    return Variants(quantizer.plan, quantizer._prepared)


def int8_of(model: nn.Module) -> set[str]:
    return {row.node for row in fxq.report(model).rows if row.quantized}


def nodes(*units: Unit) -> set[str]:
    return {output.name for unit in units for output in unit.outputs}


def test_units_are_matches_in_graph_order_and_what_shares_a_tuple_is_one(variants: Variants) -> None:
    assert [(unit.node, unit.pattern) for unit in variants.units] == [
        ("first", "linear"),
        ("chunk, getitem, getitem_1", "chunk, getitem"),
        ("cat", "cat"),
        ("last", "linear"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_each_runs_alone_in_either_form(number: int, variants: Variants, quantizer: fxq.Quantizer) -> None:
    unit = variants.units[number]
    alone, without = variants.alone(unit), variants.lowered([unit], WHY)
    assert int8_of(alone) == nodes(unit)
    assert int8_of(without) <= int8_of(quantizer.quantize()) - nodes(unit)
    reasons = {row.node: (row.reason, row.provider) for row in fxq.report(without).rows}
    assert {reasons[node] for node in nodes(unit)} == {("the test says so", "the test")}
    assert alone(X).shape == without(X).shape == (3, 2)


def test_without_any_in_float_it_is_what_the_quantizer_gives(variants: Variants, quantizer: fxq.Quantizer) -> None:
    same, wanted = variants.lowered([], WHY), quantizer.quantize()
    assert fxq.report(same) == fxq.report(wanted)
    assert torch.equal(same(X), wanted(X))


def test_what_is_between_float_layers_is_no_longer_worth_its_conversions(variants: Variants) -> None:
    first, *_, last = variants.units
    lowered = variants.lowered([first, last], WHY)
    assert int8_of(lowered) == set()
    reasons = {row.node: row.reason for row in fxq.report(lowered).rows}
    assert reasons["cat"] == reasons["chunk"] == reasons["getitem"] == "int8 would only add conversions here"


def test_the_float_model_needs_no_calibration_and_computes_the_same(quantizer: fxq.Quantizer) -> None:
    model = float_model(quantizer.plan, quantizer._prepared)
    assert int8_of(model) == set()
    assert torch.equal(model(X), Chunked().eval()(X))
    assert quantizer.batches == 0


def test_a_part_in_float_has_no_qparams_in_the_report(variants: Variants) -> None:
    rows = {row.node: row for row in fxq.report(variants.alone(variants.units[-1])).rows}
    assert [node for node, row in rows.items() if row.scale is not None] == ["cat", "last"]
