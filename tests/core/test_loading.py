"""Loading: a plugin that is broken in any way costs only itself, and its error says what is wrong in a sentence."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import fxq_core as fxq

from support.distributions import CORE, Dists, hook, load, pattern

Install = Callable[..., None]


def ours(registry: fxq.Registry) -> dict[str, str]:
    return {name: str(p.provider) for name, p in registry.patterns.items() if p.provider.dist != "fxq-core"}


BROKEN = {
    "raises at import": ("raise ImportError('no kernel')", "ImportError: no kernel"),
    "lacks a module": ("import fxq_is_not_here", "ModuleNotFoundError: No module named 'fxq_is_not_here'"),
    "is no Python": ("1 +", "SyntaxError: invalid syntax (fxq_broken.py, line 1)"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "exits without a word": ("raise SystemExit", "SystemExit"),
    "says much": ("raise ValueError('first\\nsecond')", "ValueError: first"),
    "says much in a line": ("raise ValueError('x' * 100_000)", f"ValueError: {'x' * 488}..."),
    "can't say": (
        "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Mute",
        "Mute",
    ),
    "misspells a hook": (
        hook("fxq_pattern", "yield Pattern('p', nn.CELU)"),
        "there is no hook 'fxq_pattern'; did you mean 'fxq_patterns'?",
    ),
    "invents a hook": (
        hook("teapots", "yield Pattern('p', nn.CELU)"),
        "there is no hook 'teapots'; the hooks are fxq_engines, fxq_patterns, fxq_observers, fxq_lowerings",
    ),
    "marks none": (
        "def fxq_patterns():\n    return ()",
        "it has no hook functions; mark them with @fxq_core.hookimpl",
    ),
    "wraps": (
        "from fxq_core import hookimpl\n@hookimpl(wrapper=True)\ndef fxq_patterns():\n    return (yield)",
        "hook 'fxq_patterns' can't be a wrapper; mark it with @fxq_core.hookimpl alone",
    ),
    "has another signature": (
        "from fxq_core import hookimpl\n@hookimpl\ndef fxq_patterns(registry):\n    return ()",
        "hook 'fxq_patterns' takes no arguments, but is defined with 'registry'",
    ),
    "yields something else": (
        hook("fxq_patterns", "yield 'celu'"),
        "fxq_patterns yielded 'celu', which is no Pattern; yield Pattern records only",
    ),
    "yields another record": (
        hook("fxq_observers", "yield Pattern('p', 'relu')"),
        "fxq_observers yielded Pattern(name='p', ops=(frozenset({'relu'}),), priority=0, "
        "shares_qparams=False, reject=None, weight_only=False), which is no ObserverSpec; yield ObserverSpec records "
        "only",
    ),
    "yields what takes several lines": (
        hook("fxq_patterns", "import torch", "yield torch.zeros(2, 2)"),
        "fxq_patterns yielded tensor([[0., 0.], [0., 0.]]), which is no Pattern; yield Pattern records only",
    ),
    "yields what has no end": (
        hook("fxq_patterns", "yield 'x' * 100_000"),
        f"fxq_patterns yielded '{'x' * 199}..., which is no Pattern; yield Pattern records only",
    ),
    "yields what can't be written": (
        hook("fxq_patterns", "class Mute:", "    __repr__ = None", "yield Mute()"),
        "fxq_patterns yielded a Mute, which is no Pattern; yield Pattern records only",
    ),
    "yields nothing": (
        hook("fxq_patterns", "Pattern('celu', nn.CELU)"),
        "fxq_patterns returned None; yield Pattern records, or return a list of them",
    ),
    "returns a lone record": (
        hook("fxq_observers", "return ObserverSpec('o', None.__class__)"),
        "fxq_observers returned ObserverSpec(name='o', build=<class 'NoneType'>); yield ObserverSpec records, or "
        "return a list of them",
    ),
    "says a thing twice": (
        hook("fxq_observers", *["yield ObserverSpec('o', MinMaxObserver)"] * 2),
        "it provides observer 'o' twice",
    ),
    "lowers a pattern twice": (
        hook("fxq_lowerings", *["yield Lowering(engine='tpu', pattern='conv2d', emit=print)"] * 2),
        "it provides a lowering for engine 'tpu' and pattern 'conv2d' twice",
    ),
    "lowers a pattern twice, with equal priorities": (
        hook("fxq_lowerings", *["yield Lowering(engine='tpu', pattern='conv2d', emit=print, priority=3)"] * 2),
        "it provides a lowering for engine 'tpu' and pattern 'conv2d' with priority 3 twice",
    ),
    "lowers what is no pattern": (
        hook("fxq_lowerings", "yield Lowering(engine='tpu', pattern='conv2', emit=print)"),
        "a lowering for engine 'tpu' names pattern 'conv2', which no plugin registers; did you mean 'conv2d'?",
    ),
    "exits in a hook": (
        hook("fxq_patterns", "raise SystemExit(3)", "yield"),
        "fxq_patterns raised SystemExit: 3",
    ),
    "stops half-way": (
        hook("fxq_patterns", "yield Pattern('p', nn.CELU)", "raise RuntimeError('half-way')"),
        "fxq_patterns raised RuntimeError: half-way",
    ),
    "makes a bad record": (
        hook("fxq_patterns", "yield Pattern('p', {3})"),
        "fxq_patterns raised ValueError: 3 is no module type, function or method name",
    ),
    "makes a lowering that can't emit": (
        hook("fxq_lowerings", "yield Lowering(engine='tpu', pattern='conv2d', emit='relu')"),
        "fxq_lowerings raised TypeError: Lowering.emit must be callable, not 'relu'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_costs_only_itself(case: str, install: Install) -> None:
    source, error = BROKEN[case]
    install("fxq-alpha", pattern("a"))
    install("fxq-broken", source)
    install("fxq-zulu", pattern("z"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        registry = load(strict=False)
    assert ours(registry) == {"a": "fxq-alpha 1.0", "z": "fxq-zulu 1.0"}
    (failure,) = registry.failures
    assert failure.provider == fxq.Provider("fxq-broken", "1.0", "broken")
    assert failure.error == error
    assert failure.traceback.startswith("Traceback") or "lowers what" in case
    assert str(registry).splitlines()[-1] == f"failed: fxq-broken 1.0: {error}"
    (warning,) = caught
    assert warning.category is fxq.PluginWarning
    assert str(warning.message) == (
        f"plugin fxq-broken 1.0 (entry point 'broken') failed to load: {error}; everything else works without it"
    )


def test_strict_loading_raises_instead(install: Install) -> None:
    install("fxq-broken", "raise SystemExit(3)")
    with pytest.raises(fxq.PluginError) as caught:
        load(strict=True)
    assert str(caught.value) == (
        "plugin fxq-broken 1.0 (entry point 'broken') failed to load: SystemExit: 3; mend it, uninstall it, or block it"
    )


def test_interrupting_is_not_a_fault_of_the_plugin(install: Install) -> None:
    install("fxq-alpha", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load()


def test_how_long_a_plugin_took_is_remembered(install: Install) -> None:
    install("fxq-alpha", "import time\ntime.sleep(0.5)\n" + pattern("a"))
    install("fxq-beta", pattern("b"))
    _, alpha, beta = load().plugins
    assert 0 < beta.seconds < 0.5 <= alpha.seconds < 50


def test_the_plugins_that_were_loaded_are_listed_with_what_they_provide(dists: Dists, install: Install) -> None:
    install("fxq-beta", pattern("b") + "\nFXQ_API = '>=1,<2'\n", version="2.0")
    install("fxq-alpha", pattern("a"))
    mine = types.ModuleType("mine")
    exec(pattern("m"), mine.__dict__)
    plugins = load(plugins=(mine,)).plugins
    assert [str(plugin.provider) for plugin in plugins] == [CORE, "mine", "fxq-alpha 1.0", "fxq-beta 2.0"]
    _, given, alpha, beta = plugins
    assert [record.name for record in beta.records["fxq_patterns"]] == ["b"]
    assert (alpha.api, beta.api) == ("", ">=1,<2")
    assert [Path(plugin.file) for plugin in (alpha, beta)] == [dists.file("fxq_alpha"), dists.file("fxq_beta")]
    assert given.file == ""


USER = "import fxq_alpha\n" + pattern("user")


@pytest.mark.parametrize("user", ["fxq-aaa", "fxq-zzz"])
def test_a_plugin_may_import_another(user: str, install: Install) -> None:
    install("fxq-alpha", pattern("celu"))
    install(user, USER)
    assert ours(load()) == {"celu": "fxq-alpha 1.0", "user": f"{user} 1.0"}


@pytest.mark.parametrize("user", ["fxq-aaa", "fxq-zzz"])
def test_a_plugin_that_imports_a_broken_one_fails_with_it(user: str, install: Install) -> None:
    install("fxq-alpha", "raise SystemExit('no kernel')")
    install(user, USER)
    install("fxq-beta", pattern("b"))
    with pytest.warns(fxq.PluginWarning) as caught:
        registry = load(strict=False)
    assert ours(registry) == {"b": "fxq-beta 1.0"}
    assert sorted(str(warning.message) for warning in caught) == sorted(
        f"plugin {name} 1.0 (entry point {name[4:]!r}) failed to load: SystemExit: no kernel; everything else works "
        "without it"
        for name in ("fxq-alpha", user)
    )


@pytest.mark.parametrize("user", ["fxq-aaa", "fxq-zzz"])
def test_what_a_plugin_imports_of_a_blocked_one_is_code_and_no_plugin(user: str, install: Install) -> None:
    install("fxq-alpha", pattern("celu"))
    install(user, USER)
    registry = load("fxq-alpha")
    assert ours(registry) == {"user": f"{user} 1.0"}
    assert [str(out.provider) for out in registry.left_out] == ["fxq-alpha 1.0"]


def test_a_plugin_that_asks_for_plugins_at_import_gets_them(install: Install) -> None:
    """Loading has no state of its own that a second loading inside of it could break."""
    install("fxq-alpha", "from support.distributions import load\nINNER = load('alpha')\n" + pattern("a"))
    install("fxq-beta", pattern("b"))
    assert ours(load()) == {"a": "fxq-alpha 1.0", "b": "fxq-beta 1.0"}
