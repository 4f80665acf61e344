"""The report: what became of each node, with the numbers that calibration found; it travels with the module."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import fxq_core as fxq

from support.distributions import CORE

# ranges that are exact in binary, so that the scales are known: 0 to 255/64 and -64/64 to 191/64
BATCH = torch.tensor([[0.0, 255 / 64]])


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)
        self.layer.weight = nn.Parameter(torch.tensor([[0.0, 191 / 255], [0.0, -64 / 255]]))
        self.soft = nn.Softmax(-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.soft(self.layer(x))


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.small(x) if x.sum() < 1 else self.large(x)


def quantized(model: nn.Module, core: fxq.Registry, *batches: torch.Tensor) -> nn.Module:
    config = fxq.Config(rules=(fxq.Rule("*", observer="minmax"),))
    return fxq.quantize(model.eval(), batches or [BATCH], "reference", config, core)


def test_it_prints_as_a_table(core: fxq.Registry) -> None:
    config = fxq.Config(rules=(fxq.Rule("layer", observer="minmax"),))
    by, head, dash = CORE, "by".ljust(len(CORE)), "-" * len(CORE)
    core_ = "fxq-core".ljust(len(CORE))
    empty = " " * len("scale    zero point")
    said = "the config sets observer='minmax'"
    given = "an input stays as the caller gives it"
    soft = f"int8 would only add conversions here (test_report.py:{Tiny.forward.__code__.co_firstlineno + 1})"
    lines = (
        f"engine reference ({CORE}): 1 of 4 nodes in int8",
        f"node    module  op           verdict  pattern  {head}  scale    zero point  reason",
        f"------  ------  -----------  -------  -------  {dash}  -------  ----------  {'-' * len(soft)}",
        f"x               placeholder  float             {core_}  0.01562  0           {given}",
        f"layer   layer   Linear       int8     linear   {by}  0.01562  64          {said}",
        f"soft    soft    Softmax      float             {core_}  {empty}  {soft}",
        f"output          output       float             {core_}  {empty}  outputs are returned in float",
        "the bias takes up the mean error of the rounded weight in layer",
    )
    assert str(fxq.report(fxq.quantize(Tiny().eval(), [BATCH], "reference", config, core))) == "\n".join(lines)


def test_a_row_holds_the_verdict_and_the_qparams(core: fxq.Registry) -> None:
    report = fxq.report(quantized(Tiny(), core))
    assert (report.engine, report.provider) == ("reference", CORE)
    x, layer, soft, output = report.rows
    assert (layer.node, layer.module, layer.op) == ("layer", "layer", "Linear")
    assert (layer.quantized, layer.pattern, layer.provider) == (True, "linear", CORE)
    assert layer.reason == "the config sets observer='minmax'"
    assert (layer.scale, layer.zero_point) == (pytest.approx(1 / 64), 64)
    assert (x.quantized, x.scale, x.zero_point) == (False, pytest.approx(1 / 64), 0)
    assert (soft.scale, soft.zero_point, output.scale) == (None, None, None)


def test_its_rows_are_the_plans_verdicts(core: fxq.Registry) -> None:
    quantizer = fxq.Quantizer(Tiny().eval(), BATCH, "reference", registry=core)
    rows = fxq.report(quantizer.calibrate([BATCH]).quantize()).rows
    about = ("node", "module", "op", "quantized", "pattern", "provider", "reason")
    verdicts = quantizer.plan.verdicts
    assert [[getattr(r, n) for n in about] for r in rows] == [[getattr(v, n) for n in about] for v in verdicts]


def test_a_part_that_calibration_never_reached_stays_float(core: fxq.Registry) -> None:
    model = nn.Sequential(nn.Linear(2, 2), Branch()).eval()
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter.fill_(1)
    quantizer = fxq.Quantizer(model, torch.full((1, 2), -9.0), "reference", registry=core)
    report = fxq.report(quantizer.calibrate([torch.ones(1, 2)]).quantize())
    rows = {row.module: row for row in report.rows if row.op == "Linear"}
    assert rows["0"].quantized
    unreached = rows["1.small"]
    assert (unreached.quantized, unreached.pattern, unreached.scale) == (False, "", None)
    assert (unreached.provider, unreached.reason) == ("fxq-core", "no calibration batch reached it")
    assert dict(report.notes)["1.large"] == "the example never reached it"


def test_it_survives_pickle_and_copies(core: fxq.Registry) -> None:
    lowered = quantized(Tiny(), core)
    report = fxq.report(lowered)
    assert pickle.loads(pickle.dumps(report)) == report
    for twin in (pickle.loads(pickle.dumps(lowered)), copy.deepcopy(lowered)):
        assert fxq.report(twin) == report


@pytest.mark.parametrize(("thing", "name"), [(nn.ReLU(), "ReLU"), (Tiny(), "Tiny"), (3, "int")])
def test_a_module_that_was_not_quantized_has_none(thing: nn.Module, name: str) -> None:
    with pytest.raises(fxq.FxqError) as caught:
        fxq.report(thing)
    assert str(caught.value) == f"{name} holds no report; pass what quantize() returned"
