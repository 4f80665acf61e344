"""The plan: one verdict per node, each float one with a reason and who gave it, before any data is seen."""

from __future__ import annotations

import dataclasses
import types
from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.reference import REFERENCE

from support.distributions import CORE, load

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Layers of many kinds that a function calls."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.relu, self.softmax = nn.BatchNorm2d(4), nn.ReLU(), nn.Softmax(1)
        self.register_buffer("offset", torch.ones(4, 1, 1))
        self.lstm = nn.LSTM(8, 8)
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.small(x) if x.mean() > 100 else self.large(x)


MODELS = {
    "chain": Net(lambda n, x: n.relu(n.norm(n.conv(x)))),
    "residual": Net(lambda n, x: (c := n.conv(x), F.relu(n.other(c) + c))[1]),
    "float ops": Net(lambda n, x: F.cosine_similarity(n.conv(n.softmax(x)), n.offset)),
    "float inputs": Net(lambda n, x: torch.tanh(F.relu(x + x))),
    "constants": Net(lambda n, x: n.conv(x) + n.offset),
    "integers": Net(lambda n, x: n.conv(x).argmax(1) + x.size(0)),
    "shapes": Net(lambda n, x: n.conv(x).view(x.size(0), -1)),
    "in place": Net(lambda n, x: (n.conv(x)[:, 0].add_(1), n.conv(x))),
    "shared": Net(lambda n, x: n.other(n.other(n.conv(x)))),
    "tuples": Net(lambda n, x: n.lstm(x.mean(1))[0]),
    "run-time weight": Net(lambda n, x: F.conv2d(x, n.conv.weight * x.size(0))),
    "run-time bound": Net(lambda n, x: n.other(n.conv(x).clamp(x.size(0) - 3, 1))),
    "unused": Net(lambda n, x: (n.other(n.conv(x)), x)[1]),
    "norm alone": Net(lambda n, x: n.norm(n.relu(n.conv(x)))),
    "norm of batches": nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4, track_running_stats=False))
    ),
    "branching": nn.Sequential(nn.Linear(8, 8), Branching(), nn.ReLU()),
    "branching root": Branching(),
}


def plan(model: nn.Module, core: fxq.Registry, **how: Any) -> fxq.Plan:
    return fxq.Quantizer(model.eval(), X, "reference", registry=core, **how).plan


@pytest.mark.parametrize("name", MODELS)
def test_every_node_has_one_verdict_and_every_float_one_a_reason(name: str, core: fxq.Registry) -> None:
    found = plan(MODELS[name], core)
    assert found.parts
    for part in found.parts:
        assert [v.node for v in part.verdicts] == [node.name for node in part.graph_module.graph.nodes]
        inner = {node.name for c in part.chosen.values() for node in c.match.nodes}
        assert {v.node for v in part.verdicts if v.quantized} == inner
        for verdict in part.verdicts:
            assert verdict.part == part.path
            if verdict.quantized:
                assert verdict.pattern in core.patterns
                assert verdict.provider == CORE
            else:
                assert verdict.pattern == ""
                assert verdict.provider in ("fxq-core", CORE)
                assert verdict.output is None
                assert verdict.reason
                assert not verdict.reason.endswith(".")
                assert "\n" not in verdict.reason
    assert found.verdicts == tuple(v for part in found.parts for v in part.verdicts)


@pytest.mark.parametrize(
    ("name", "node", "reason"),
    [
        ("float ops", "softmax", "int8 would only add conversions here"),
        ("float ops", "cosine_similarity", "no installed pattern matches it"),
        ("float inputs", "add", "int8 would only add conversions here"),
        ("float inputs", "relu", "int8 would only add conversions here"),
        ("float inputs", "tanh", "int8 would only add conversions here"),
        ("constants", "offset", "a constant"),
        ("integers", "argmax", "its result is not a float32 tensor: torch.int64 tensor"),
        ("integers", "size", "its result is not a float32 tensor: int"),
        ("tuples", "lstm", "its result is not a float32 tensor: tuple"),
        ("run-time weight", "conv2d", "its weight is computed at run time"),
        ("run-time bound", "clamp", "its bounds are computed at run time"),
        ("norm of batches", "norm", "its statistics are computed from each batch"),
        ("chain", "x", "an input stays as the caller gives it"),
        ("chain", "output", "outputs are returned in float"),
    ],
)
def test_the_reason_is_the_one_that_holds(name: str, node: str, reason: str, core: fxq.Registry) -> None:
    verdicts = {v.node: v for v in plan(MODELS[name], core).verdicts}
    assert (verdicts[node].quantized, verdicts[node].reason) == (False, reason)


def test_it_prints_as_a_table(core: fxq.Registry) -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
            self.head = nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(F.relu(self.stem(x))).softmax(-1)

    by, core_, dash = CORE, "fxq-core".ljust(len(CORE)), "-" * len(CORE)
    soft = f"int8 would only add conversions here (test_plan.py:{Tiny.forward.__code__.co_firstlineno + 1})"
    assert str(plan(Tiny(), core)) == "\n".join(
        (
            f"engine reference ({CORE}): 3 of 6 nodes in int8",
            f"node     module  op           verdict  pattern       {'by'.ljust(len(CORE))}  reason",
            f"-------  ------  -----------  -------  ------------  {dash}  {'-' * len(soft)}",
            f"x                placeholder  float                  {core_}  an input stays as the caller gives it",
            f"stem_0   stem.0  Conv2d       int8     conv2d_clamp  {by}  part of relu",
            f"relu             relu         int8     conv2d_clamp  {by}",
            f"head     head    Linear       int8     linear        {by}",
            f"softmax          .softmax     float                  {core_}  {soft}",
            f"output           output       float                  {core_}  outputs are returned in float",
            "stem.1: folded into stem.0",
            "the bias takes up the mean error of the rounded weight in stem.0, head",
        )
    )


def test_it_says_what_became_of_modules_that_are_no_node(core: fxq.Registry) -> None:
    found = plan(MODELS["branching"], core)
    assert [part.path for part in found.parts] == ["", "1.large"]
    line = f"test_plan.py:{Branching.forward.__code__.co_firstlineno + 1}"
    assert found.notes == {
        "1": f"it can't be traced: {line}: TraceError: symbolically traced variables cannot be used as inputs to "
        "control flow",
        "1.small": "the example never reached it",
    }
    assert str(found).splitlines()[-3:-1] == [f"{path}: {note}" for path, note in found.notes.items()]
    (verdict,) = (v for v in found.verdicts if v.op == "Branching")
    assert (verdict.quantized, verdict.reason) == (False, found.notes["1"])
    root = plan(MODELS["branching root"], core)
    assert str(root).splitlines()[-3].startswith("the root: it can't be traced: ")


def test_a_quantized_value_says_what_the_engine_wants_of_it(core: fxq.Registry) -> None:
    verdicts = {v.node: v for v in plan(MODELS["chain"], core).verdicts}
    assert (verdicts["conv"].output, verdicts["relu"].output) == (None, REFERENCE.activation)


def strange(**changes: Any) -> fxq.Registry:
    engine = dataclasses.replace(REFERENCE, name="strange", **changes)
    plugin = types.SimpleNamespace(
        __name__="strange", fxq_engines=fxq.hookimpl(lambda: iter([engine]), specname="fxq_engines")
    )
    return load(plugins=(plugin,))


def test_an_engine_must_convert_between_float_and_int8() -> None:
    with pytest.raises(fxq.EngineError) as caught:
        fxq.Quantizer(MODELS["chain"].eval(), X, "strange", registry=strange(family="strangers"))
    assert str(caught.value) == (
        "engine 'strange' of strange has no lowering for 'quantize'; "
        "its plugin must yield one to convert between float and int8"
    )


@pytest.mark.parametrize("field", ["activation", "weight"])
def test_an_engine_that_wants_an_unknown_observer_is_told_so(field: str) -> None:
    found = strange(**{field: dataclasses.replace(getattr(REFERENCE, field), observer="crystal")})
    with pytest.raises(fxq.EngineError) as caught:
        fxq.Quantizer(MODELS["chain"].eval(), X, "strange", registry=found)
    assert str(caught.value) == (
        "engine 'strange' of strange wants observer 'crystal', which no plugin provides; "
        "installed: entropy, histogram, minmax, moving-average, percentile"
    )
