"""The registry: conflicts name both sides and a way out that works; who wins where several lowerings serve."""

from __future__ import annotations

import ast
import dataclasses
import re
import types
from collections.abc import Callable

import pytest
from torch import nn

import fxq_core as fxq
from fxq_core.reference import REFERENCE

from support.distributions import CORE, Dists, hook, load

Install = Callable[..., None]
MORE = ", or give one a higher priority"
LOWERING = "yield Lowering(engine={!r}, pattern={!r}, emit=print, priority={})"


def lowering(engine: str, pattern: str, priority: int = 0) -> str:
    return hook("fxq_lowerings", LOWERING.format(engine, pattern, priority))


@pytest.mark.parametrize(
    ("source", "what", "more"),
    [
        (hook("fxq_engines", "yield dataclasses.replace(REFERENCE, name='tpu')"), "engine 'tpu'", False),
        (hook("fxq_patterns", "yield Pattern('celu', nn.CELU)"), "pattern 'celu'", False),
        (hook("fxq_observers", "yield ObserverSpec('wide', MinMaxObserver)"), "observer 'wide'", False),
        (lowering("tpu", "conv2d"), "a lowering for engine 'tpu' and pattern 'conv2d'", True),
    ],
)
def test_two_distributions_that_provide_the_same_are_named(
    source: str, what: str, more: bool, dists: Dists, install: Install
) -> None:
    install("fxq-beta", source, version="2.0rc1")
    install("fxq-alpha", source, version="1.0")
    with pytest.raises(fxq.PluginConflictError) as caught:
        load()
    ways = (
        "block it with load_plugins(block=('fxq-beta',)), or give one a higher priority"
        if more
        else "or block it with load_plugins(block=('fxq-beta',))"
    )
    both = f"fxq-alpha 1.0 ({dists.file('fxq_alpha')}) and fxq-beta 2.0rc1 ({dists.file('fxq_beta')})"
    assert str(caught.value) == f"{both} both provide {what}: uninstall one of them, {ways}"
    assert load("fxq-beta").failures == ()


@pytest.mark.parametrize("name", ["fxq-abacus", "fxq-zebra"])
def test_the_core_is_never_what_to_uninstall_or_block(name: str, install: Install) -> None:
    install(name, hook("fxq_patterns", "yield Pattern('conv2d', nn.CELU)"))
    with pytest.raises(fxq.PluginConflictError) as caught:
        load()
    text = str(caught.value)
    assert re.findall(r"(fxq-\S+ \S+)(?: \(.+?\))?(?= and| both)", text) == sorted([f"{name} 1.0", CORE])
    way_out = ast.literal_eval(re.search(r"block=(\(.*?\))", text)[1])
    assert load(*way_out).patterns["conv2d"].provider.dist == "fxq-core"


def test_one_plugin_that_says_a_thing_twice_is_told_so(install: Install) -> None:
    install("fxq-alpha", hook("fxq_patterns", "yield Pattern('celu', nn.CELU)", "yield Pattern('celu', nn.ELU)"))
    with pytest.raises(fxq.PluginError) as caught:
        load()
    assert str(caught.value) == (
        "plugin fxq-alpha 1.0 (entry point 'alpha') failed to load: it provides pattern 'celu' twice; "
        "mend it, uninstall it, or block it"
    )


def test_a_plugin_given_by_hand_is_named_by_its_module() -> None:
    module = types.ModuleType("mine")
    exec(hook("fxq_patterns", "yield Pattern('celu', nn.CELU)"), module.__dict__)
    assert str(load(plugins=(module,)).patterns["celu"].provider) == "mine"


@pytest.mark.parametrize(
    ("source", "what", "more"),
    [
        (hook("fxq_patterns", "yield Pattern('celu', nn.CELU)"), "pattern 'celu'", ""),
        (
            lowering("tpu", "conv2d"),
            "a lowering for engine 'tpu' and pattern 'conv2d'",
            ", or give one a higher priority",
        ),
    ],
)
def test_of_a_conflict_with_what_the_caller_gives_the_way_out_works(
    source: str, what: str, more: str, dists: Dists, install: Install
) -> None:
    def given(name: str) -> types.ModuleType:
        module = types.ModuleType(name)
        exec(source, module.__dict__)
        return module

    with pytest.raises(fxq.PluginConflictError) as caught:
        load(plugins=(given("mine"), given("ours")))
    assert str(caught.value) == f"mine and ours both provide {what}: leave one of them out of plugins={more}"
    for name in ("zzz", "aaa"):
        install(f"fxq-{name}", source)
        with pytest.raises(fxq.PluginConflictError) as caught:
            load(*(("fxq-zzz",) if name == "aaa" else ()), plugins=(given("mine"),))
        both = sorted([f"fxq-{name} 1.0 ({dists.file(f'fxq_{name}')})", "mine"])
        way = f"uninstall one of them, or block it with load_plugins(block=('fxq-{name}',))"
        way = way.replace(", or", ",") + more if more else way
        assert str(caught.value) == f"{both[0]} and {both[1]} both provide {what}: {way}"
    assert load("fxq-zzz", "fxq-aaa", plugins=(given("mine"),)).failures == ()


def test_an_object_without_hooks_is_no_plugin() -> None:
    with pytest.raises(fxq.PluginError) as caught:
        load(plugins=("fxq_mine",))
    assert str(caught.value) == (
        "plugin str (entry point 'given') failed to load: it has no hook functions; mark them with "
        "@fxq_core.hookimpl; mend it, uninstall it, or block it"
    )


def test_the_lowering_with_the_higher_priority_serves(install: Install) -> None:
    install("fxq-alpha", lowering("reference", "conv2d", 1))
    install("fxq-beta", lowering("reference", "conv2d", 5))
    install("fxq-gamma", lowering("reference", "conv2d", 1))
    assert str(load().lowering(REFERENCE, "conv2d").provider) == "fxq-beta 1.0"
    assert str(load("beta", "gamma").lowering(REFERENCE, "conv2d").provider) == "fxq-alpha 1.0"
    assert str(load("alpha", "beta", "gamma").lowering(REFERENCE, "conv2d").provider) == CORE
    with pytest.raises(fxq.PluginConflictError, match=r"^fxq-alpha 1\.0 \(.+\) and fxq-gamma 1\.0 \(.+\) both "):
        load("beta")


def test_the_engines_own_beats_its_familys_and_a_name_beats_the_wildcard(install: Install) -> None:
    install("fxq-own", lowering("tpu", "conv2d"))
    install("fxq-family", lowering("units", "conv2d", 9))
    install("fxq-any", lowering("tpu", "*"))
    install("fxq-anyfamily", lowering("units", "*"))
    engine = dataclasses.replace(REFERENCE, name="tpu", family="units")

    def who(pattern: str, *block: str) -> str | None:
        found = load(*block).lowering(engine, pattern)
        return None if found is None else found.provider.dist

    assert who("conv2d") == "fxq-own"
    assert who("conv2d", "own") == "fxq-family"
    assert who("conv2d", "own", "family") == who("linear") == "fxq-any"
    assert who("linear", "any") == "fxq-anyfamily"
    assert who("linear", "any", "anyfamily") is None
    other = dataclasses.replace(engine, name="other")
    assert load().lowering(other, "conv2d").provider.dist == "fxq-family"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("conv2", "did you mean 'conv2d'?"), ("zzz", "is the plugin that registers it installed?")],
)
def test_a_lowering_for_an_unknown_pattern_fails_its_plugin(name: str, hint: str, install: Install) -> None:
    install("fxq-alpha", lowering("tpu", name))
    with pytest.warns(fxq.PluginWarning) as caught:
        registry = load(strict=False)
    error = f"a lowering for engine 'tpu' names pattern {name!r}, which no plugin registers; {hint}"
    assert [str(w.message) for w in caught] == [
        f"plugin fxq-alpha 1.0 (entry point 'alpha') failed to load: {error}; everything else works without it"
    ]
    assert [(str(f.provider), f.error) for f in registry.failures] == [("fxq-alpha 1.0", error)]
    assert ("tpu", name) not in registry.lowerings


def test_losing_a_pattern_costs_those_that_lower_it(install: Install) -> None:
    both = hook("fxq_patterns", "yield Pattern('celu', nn.CELU)") + lowering("tpu", "zzz")
    install("fxq-alpha", both)
    install("fxq-beta", lowering("tpu", "celu"))
    with pytest.warns(fxq.PluginWarning):
        registry = load(strict=False)
    assert sorted(f.provider.dist for f in registry.failures) == ["fxq-alpha", "fxq-beta"]
    assert "celu" not in registry.patterns


def test_a_registry_does_not_change(core: fxq.Registry) -> None:
    for table in (core.engines, core.patterns, core.observers, core.lowerings):
        assert isinstance(table, types.MappingProxyType)
        with pytest.raises(TypeError, match="does not support item assignment"):
            table["x"] = None
    with pytest.raises(dataclasses.FrozenInstanceError):
        core.engines = {}


def test_it_says_who_provides_what(install: Install) -> None:
    install("fxq-alpha", hook("fxq_patterns", "yield Pattern('celu', nn.CELU)") + lowering("tpu", "celu"))
    install("fxq-beta", "raise RuntimeError('b')")
    with pytest.warns(fxq.PluginWarning):
        lines = str(load(strict=False)).splitlines()
    assert lines[:3] == ["engines:", f"  reference  ({CORE})", "patterns:"]
    assert "  celu  (fxq-alpha 1.0)" in lines
    assert "  celu on tpu  (fxq-alpha 1.0)" in lines
    assert f"  histogram  ({CORE})" in lines
    assert lines[-1] == "failed: fxq-beta 1.0: RuntimeError: b"
    titles = [line for line in lines if not line.startswith(" ")]
    assert titles[:-1] == ["engines:", "patterns:", "observers:", "lowerings:"]


def test_records_of_the_core_come_through_the_same_hooks(core: fxq.Registry) -> None:
    tables = (core.engines, core.patterns, core.observers, core.lowerings)
    assert {str(record.provider) for table in tables for record in table.values()} == {CORE}
    assert core.patterns["conv2d"].ops[0] >= {nn.Conv2d}


def test_of_a_conflict_between_the_core_and_what_the_caller_gives_the_core_stays() -> None:
    again = fxq.hookimpl(lambda: [REFERENCE], specname="fxq_engines")
    with pytest.raises(fxq.PluginConflictError) as caught:
        load(plugins=(types.SimpleNamespace(__name__="mine", fxq_engines=again),))
    assert re.sub(r" \(.*?\)", "", str(caught.value)) == (
        f"{CORE} and mine both provide engine 'reference': leave mine out of plugins="
    )


def test_a_registry_names_its_plugins_where_it_is_shown(install: Install) -> None:
    install("fxq-abacus", hook("fxq_patterns", "yield Pattern('celu', nn.CELU)"))
    assert repr(load()) == f"Registry({CORE}, fxq-abacus 1.0)"
