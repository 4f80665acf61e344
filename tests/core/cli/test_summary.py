"""A plan in numbers: what counts as int8, as float, and as neither."""

from __future__ import annotations

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.cli.summary import Reason, summarize

CONVERSIONS = "int8 would only add conversions here"


def plan(model: nn.Module, *example: torch.Tensor, registry: fxq.Registry) -> fxq.Plan:
    return fxq.Quantizer(model.eval(), example, "reference", registry=registry).plan


class Sizes(nn.Module):
    """Two linear layers of 6 * 8 and 8 * 3 weights, between which a shape is read and a mask is made."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.bias = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y = self.last(y.reshape(y.shape[0], 8))
        return torch.where(y > 0, y, self.bias)


def test_nodes_and_parameters_are_counted(core: fxq.Registry) -> None:
    model = Sizes()
    summary = summarize(plan(model, torch.randn(2, 6), registry=core), model)
    # int8: two layers and the reshape; float: where; neither: input, output, bias, shape and its item, mask
    assert (summary.int8, summary.floats, summary.others) == (3, 1, 6)
    assert (summary.int8_parameters, summary.parameters) == (6 * 8 + 8 * 3, 6 * 8 + 8 + 8 * 3 + 3 + 3)


def test_a_layer_that_is_used_twice_has_its_weight_once(core: fxq.Registry) -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    summary = summarize(plan(model, torch.randn(2, 4), registry=core), model)
    assert (summary.int8, summary.int8_parameters, summary.parameters) == (3, 16, 20)


def test_a_model_without_parameters(core: fxq.Registry) -> None:
    model = nn.Softmax(-1)
    summary = summarize(plan(model, torch.randn(2, 4), registry=core), model)
    assert (summary.int8, summary.floats, summary.parameters, summary.int8_parameters) == (0, 1, 0, 0)


def test_reasons_are_ordered_by_how_often_they_are_given_and_ops_too(core: fxq.Registry) -> None:
    model = nn.Sequential(nn.CELU(), nn.SELU(), nn.Softmax(-1), nn.CELU())
    summary = summarize(plan(model, torch.randn(2, 4), registry=core), model)
    assert summary.reasons == (
        Reason("no installed pattern matches it", 3, ("CELU", "SELU")),
        Reason(CONVERSIONS, 1, ("Softmax",)),
    )
