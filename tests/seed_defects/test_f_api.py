"""Entries 47 to 51: records and registries, engines, plain modules, and saying what was done."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.reference import REFERENCE, emit_any
from seed_defects.oracle import int8_weight, module, on_grid, quantized

IMAGE = (2, 3, 8, 8)


class Provides:
    """A plugin of one record."""

    def __init__(self, name: str, hook: str, record: object) -> None:
        self.__name__ = name
        setattr(self, hook, fxq.hookimpl(specname=hook)(lambda: [record]))


def test_seed_47_one_record_for_each_task() -> None:
    fields = {
        kind: {field.name for field in dataclasses.fields(kind)}
        for kind in (fxq.Pattern, fxq.Lowering, fxq.ObserverSpec)
    }
    assert "emit" not in fields[fxq.Pattern] | fields[fxq.ObserverSpec]
    assert "build" not in fields[fxq.Pattern] | fields[fxq.Lowering]
    assert "ops" not in fields[fxq.Lowering] | fields[fxq.ObserverSpec]


@pytest.mark.parametrize(
    ("hook", "record", "title"),
    [
        ("fxq_patterns", fxq.Pattern("softsign", {nn.Softsign}), "pattern 'softsign'"),
        ("fxq_observers", fxq.ObserverSpec("mine", lambda spec: None), "observer 'mine'"),
        ("fxq_engines", dataclasses.replace(REFERENCE, name="mine"), "engine 'mine'"),
        (
            "fxq_lowerings",
            fxq.Lowering(engine="reference", pattern="twin", emit=emit_any),
            "a lowering for engine 'reference' and pattern 'twin'",
        ),
    ],
)
def test_seed_47_two_providers_of_one_thing_are_an_error(hook: str, record: object, title: str) -> None:
    known = Provides("known", "fxq_patterns", fxq.Pattern("twin", {nn.Softsign}))
    plugins = [Provides("first", hook, record), Provides("second", hook, record), known]
    for order in (plugins, plugins[::-1]):
        with pytest.raises(fxq.PluginConflictError, match=f"^first and second both provide {re.escape(title)}: "):
            fxq.load_plugins(order)


def test_seed_47_registries_are_separate_immutable_and_say_who_provides(registry: fxq.Registry) -> None:
    before = dict(registry.patterns)
    mine = fxq.load_plugins([Provides("mine", "fxq_patterns", fxq.Pattern("softsign", {nn.Softsign}))])
    assert mine.patterns["softsign"].provider.dist == "mine"
    assert "softsign  (mine)" in str(mine)
    assert dict(registry.patterns) == before
    assert {pattern.provider.dist for pattern in before.values()} >= {"fxq-core"}
    with pytest.raises(TypeError):
        registry.patterns["softsign"] = mine.patterns["softsign"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        registry.patterns = {}  # type: ignore[misc]


def test_seed_47_equal_claims_on_a_node_are_an_error_until_one_has_priority() -> None:
    lowering = Provides("lowers", "fxq_lowerings", fxq.Lowering(engine="reference", pattern="mine", emit=emit_any))
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()).eval(), torch.randn(IMAGE)
    claim = fxq.Pattern("mine", {nn.Sigmoid})
    registry = fxq.load_plugins([Provides("mine", "fxq_patterns", claim), lowering])
    with pytest.raises(fxq.PluginConflictError, match=r"^pattern 'mine' of mine and pattern 'sigmoid' of fxq-core"):
        fxq.Quantizer(model, x, engine="reference", registry=registry)
    claim = dataclasses.replace(claim, priority=1)
    registry = fxq.load_plugins([Provides("mine", "fxq_patterns", claim), lowering])
    assert fxq.Quantizer(model, x, engine="reference", registry=registry).plan.verdicts[2].pattern == "mine"


def test_seed_48_the_engine_is_consulted_before_anything_else(registry: fxq.Registry) -> None:
    model, x = nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(2, 4)
    broken = dataclasses.replace(REFERENCE, name="broken", reject=lambda: "it is made of wood")
    known = fxq.load_plugins([Provides("carpenter", "fxq_engines", broken)])
    with pytest.raises(fxq.EngineError, match=r"^engine 'broken' of carpenter can't run here: it is made of wood; "):
        fxq.Quantizer(model, x, engine="broken", registry=known)
    with pytest.raises(fxq.EngineError, match=r"^engine 'abacus' is claimed by no installed plugin; "):
        fxq.Quantizer(model, x, engine="abacus", registry=registry)
    qmodel, _ = quantized(model, x, registry=registry)
    assert qmodel.fxq_engine == fxq.report(qmodel).engine == "reference"


def test_seed_49_the_lowered_model_holds_what_it_calls_and_nothing_else(registry: fxq.Registry) -> None:
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Identity(), nn.ReLU(), nn.Dropout())
    qmodel, _ = quantized(nn.Sequential(*layers), torch.randn(IMAGE), registry=registry)
    called = {str(node.target) for node in qmodel.fxq_graph.nodes if node.op == "call_module"}
    assert {path for path, _ in qmodel.named_modules() if path} == called
    assert "1" not in called


def test_seed_49_every_pattern_has_a_lowering_and_every_observer_can_be_built(registry: fxq.Registry) -> None:
    engine = registry.engines["reference"]
    assert all(registry.lowering(engine, name) is not None for name in registry.patterns)
    assert all(spec.build(engine.activation).count == 0 for spec in registry.observers.values())


class Deciding(nn.Module):
    """No trace gets through its own forward, but every part of it can be quantized."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.second(x) if x.sum() >= 0 else x


def test_seed_50_plain_modules_need_no_tracing(registry: fxq.Registry) -> None:
    x, layers = torch.randn(IMAGE), (nn.Conv2d(3, 4, 3), nn.ReLU())
    plain, _ = quantized(nn.Sequential(*layers), x, registry=registry)
    traced, _ = quantized(fx.symbolic_trace(nn.Sequential(*layers).eval()), x, registry=registry)
    assert torch.equal(plain(x), traced(x))


def test_seed_50_control_flow_stays_and_the_parts_below_it_are_int8(registry: fxq.Registry) -> None:
    model, x = Deciding().eval(), torch.randn(IMAGE)
    q = fxq.Quantizer(model, x, "reference", fxq.Config(bias_correction=False), registry).calibrate([x])
    qmodel = q.quantize()
    assert [row.module for row in fxq.report(qmodel).rows if row.quantized and row.scale] == ["first.1", "second"]
    ((where, why),) = fxq.report(qmodel).notes
    assert where == ""
    assert why.startswith("it can't be traced: ")
    assert "TraceError" in why
    first, _ = quantized(model.first, x, registry=registry)
    with torch.no_grad():
        inside = model.first(x)
    second, _ = quantized(nn.Sequential(model.second), inside, registry=registry)
    assert torch.equal(qmodel(x), second(first(x)))


def multiheaded(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = self.fc(x)
    return self.attention(y, y, y, need_weights=False)[0] if y.sum() < 1e9 else y


def test_seed_50_layers_of_many_arguments_do_not_keep_the_others_in_float(registry: fxq.Registry) -> None:
    model = module(multiheaded, fc=nn.Linear(8, 8), attention=nn.MultiheadAttention(8, 2)).eval()
    qmodel, _ = quantized(model, torch.randn(5, 2, 8), registry=registry)
    assert [row.op for row in fxq.report(qmodel).rows if row.pattern == "linear"] == ["Linear"] * 5


@pytest.mark.parametrize("selector", ["0", "first.*", "linear", nn.Linear, lambda match: match.modules[0] is not None])
def test_seed_51_a_layer_can_be_skipped_in_every_way(selector: object, registry: fxq.Registry) -> None:
    named = selector == "first.*"
    layers = nn.Sequential(nn.Linear(4, 4), nn.Hardswish())
    model = module(lambda self, x: self.first(x), first=layers) if named else layers.eval()
    x = torch.randn(5, 4)
    qmodel, _ = quantized(model, x, registry=registry, config=fxq.Config(skip=(selector,)))
    assert torch.equal(qmodel(x), model(x))
    skipped = next(row for row in fxq.report(qmodel).rows if row.op == "Linear")
    assert skipped.reason.startswith("the config skips ")
    assert skipped.provider == "the config"


def test_seed_51_a_skipped_layer_is_exact_and_its_neighbours_are_int8(registry: fxq.Registry) -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)).eval(), torch.randn(5, 4)
    qmodel, row = quantized(model, x, registry=registry, config=fxq.Config(skip=("0",)))
    with torch.no_grad():
        exact = on_grid(model[0](x), row._0)
    assert torch.equal(qmodel(x), on_grid(F.linear(exact, int8_weight(model[1].weight), model[1].bias), row._1))


def test_seed_51_a_selector_of_nothing_is_an_error(registry: fxq.Registry) -> None:
    model = module(lambda self, x: self.classifier(x), classifier=nn.Linear(4, 3))
    message = "^the config selects 'clasifier', which matches nothing in this model; did you mean 'classifier'\\?$"
    with pytest.raises(fxq.ConfigError, match=message):
        quantized(model, torch.randn(5, 4), registry=registry, config=fxq.Config(skip=("clasifier",)))


def test_seed_51_the_report_has_a_row_for_each_node(registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.GELU())
    qmodel, row = quantized(model, torch.randn(IMAGE), registry=registry)
    report = fxq.report(qmodel)
    assert [found.node for found in report.rows] == ["input_1", "_0", "_2", "_3", "output"]
    assert (row._2.pattern, row._2.module, row._2.op) == ("conv2d_clamp", "2", "ReLU")
    assert row._3.reason == "int8 would only add conversions here"
    assert dict(report.notes) == {"1": "folded into 0"}
    assert all(found.node in str(report) for found in report.rows)
    with pytest.raises(fxq.FxqError, match=r"^Sequential holds no report; pass what quantize\(\) returned$"):
        fxq.report(model)
