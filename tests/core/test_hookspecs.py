"""Each hook's docstring is a complete plugin: it is taken out, loaded and used."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core import hookspecs
from fxq_core.discovery import RECORD_TYPES
from fxq_core.hookspecs import PROJECT

from support import pages
from support.distributions import load

HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("fxq_"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Conv2d(3, 4, 3), nn.CELU(), nn.Conv2d(4, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.first(x)))


BATCH = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def plugin(hook: str) -> types.ModuleType:
    """The plugin in a hook's docstring."""
    (block,) = pages.blocks(inspect.getdoc(getattr(hookspecs, hook)))
    module = types.ModuleType(f"plugin_of_{hook}")
    exec(compile(block.code, f"docstring of {hook}", "exec"), module.__dict__)
    return module


def use_engine(registry: fxq.Registry, net: nn.Module) -> None:
    assert registry.engines["six-bits"].provider.dist == "plugin_of_fxq_engines"
    lowered = fxq.quantize(net, [BATCH], "six-bits", registry=registry)
    report = fxq.report(lowered)
    assert str(report).splitlines()[0] == "engine six-bits (plugin_of_fxq_engines): 2 of 5 nodes in int8"
    assert len(lowered(BATCH).unique()) <= 64


def use_patterns(registry: fxq.Registry, net: nn.Module) -> None:
    """The reference engine lowers every pattern, so naming it is enough there."""
    assert registry.patterns["celu"].ops == ({nn.CELU},)
    verdicts = {v.node: v for v in fxq.Quantizer(net, BATCH, "reference", registry=registry).plan.verdicts}
    assert (verdicts["act"].quantized, verdicts["act"].pattern) == (True, "celu")


def use_observers(registry: fxq.Registry, net: nn.Module) -> None:
    def scale(observer: str) -> Any:
        config = fxq.Config(rules=(fxq.Rule("last", observer=observer),))
        rows = fxq.report(fxq.quantize(net, [BATCH], "reference", config, registry)).rows
        return next(row.scale for row in rows if row.node == "last")

    assert scale("wide") == pytest.approx(1.01 * scale("minmax"), rel=1e-5)


def use_lowerings(registry: fxq.Registry, net: nn.Module) -> None:
    lowering = registry.lowerings["torch", "celu"]
    assert lowering.provider.dist == "plugin_of_fxq_lowerings"
    assert lowering.emit.__name__ == "emit"


USES: dict[str, Callable[[fxq.Registry, nn.Module], None]] = {
    "fxq_engines": use_engine,
    "fxq_lowerings": use_lowerings,
    "fxq_observers": use_observers,
    "fxq_patterns": use_patterns,
}
# a lowering is for a pattern, which another plugin registers
NEEDS = {"fxq_lowerings": ("fxq_patterns",)}


def test_every_hook_is_marked_tested_and_has_a_record_type() -> None:
    assert sorted(USES) == sorted(RECORD_TYPES) == HOOKS
    assert all(hasattr(getattr(hookspecs, name), f"{PROJECT}_spec") for name in HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_plugin_in_its_docstring_is_complete_and_used(hook: str, net: nn.Module) -> None:
    plugins = tuple(plugin(name) for name in (hook, *NEEDS.get(hook, ())))
    USES[hook](load(plugins=plugins), net)


def test_a_lowering_without_its_pattern_says_what_is_missing() -> None:
    with pytest.raises(fxq.PluginError) as caught:
        load(plugins=(plugin("fxq_lowerings"),))
    assert str(caught.value) == (
        "plugin plugin_of_fxq_lowerings (entry point 'given') failed to load: a lowering for engine 'torch' names "
        "pattern 'celu', which no plugin registers; did you mean 'elu'?; mend it, uninstall it, or block it"
    )


def test_without_the_pattern_its_op_stays_float(core: fxq.Registry, net: nn.Module) -> None:
    verdicts = {v.node: v for v in fxq.Quantizer(net, BATCH, "reference", registry=core).plan.verdicts}
    assert (verdicts["act"].quantized, verdicts["act"].reason) == (False, "no installed pattern matches it")
