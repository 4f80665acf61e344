"""What int8 costs on the engines that compute in it, whose values have forms of their own."""

from __future__ import annotations

import torch

import fxq_core as fxq
from fxq_core.analysis.noise import largest_error, sqnr

from support.exact import MINMAX, X, chain


def test_exact_layers_are_exact_and_the_one_with_the_outlier_costs(engine: str, registry: fxq.Registry) -> None:
    model = chain()
    quantizer = fxq.Quantizer(model, X, engine, MINMAX, registry).calibrate([X])
    qmodel = quantizer.quantize()
    rows = fxq.compare(model, qmodel, X, registry=registry).rows
    with torch.no_grad():
        last = largest_error(model(X), qmodel(X))
    assert last > 0
    assert [(row.node, row.error) for row in rows] == [("input_1", 0.0), ("_0", 0.0), ("_1", 0.0), ("_2", last)]
    found = fxq.sensitivity(quantizer, [X])
    assert [row.node for row in found.rows] == ["_2", "_0", "_1"]
    with torch.no_grad():
        assert found.rows[0].score == sqnr(model(X), qmodel(X))


def test_a_budget_keeps_just_that_layer(engine: str, registry: fxq.Registry) -> None:
    model = chain()

    @torch.no_grad()
    def metric(other: torch.nn.Module) -> float:
        return -largest_error(model(X), other(X))

    qmodel = fxq.quantize(model, [X], engine, MINMAX, registry, max_drop=0, metric=metric)
    assert [row.node for row in fxq.report(qmodel).rows if row.op == "Linear" and not row.quantized] == ["_2"]
    assert metric(qmodel) == 0.0
