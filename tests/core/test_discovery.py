"""Discovery: which plugins are found, and in which order; what is broken about each of them is told once."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest

import fxq_core as fxq

from support.distributions import INSTALLED, Dists, hook, load

Install = Callable[..., None]


def pattern(name: str) -> str:
    return hook("fxq_patterns", f"yield Pattern({name!r}, nn.CELU)")


def ours(registry: fxq.Registry) -> dict[str, str]:
    return {name: str(p.provider) for name, p in registry.patterns.items() if p.provider.dist != "fxq-core"}


def test_a_distribution_is_found_and_its_records_carry_its_name(install: Install) -> None:
    install("fxq-alpha", pattern("celu"), version="1.2.3")
    assert load().patterns["celu"].provider == fxq.Provider("fxq-alpha", "1.2.3", "alpha")


def test_the_order_on_sys_path_does_not_matter(dists: Dists, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [
        dists.make("fxq-gamma", pattern("g") + hook("fxq_engines", "raise ValueError('g')")),
        dists.make("fxq-alpha", pattern("a") + hook("fxq_observers", "yield ObserverSpec('o', MinMaxObserver)")),
        dists.make("fxq-beta", "raise RuntimeError('b')"),
    ]
    seen = set()
    before = list(sys.path)
    for order in itertools.permutations(folders):
        monkeypatch.setattr(sys, "path", [*order, *before])
        importlib.invalidate_caches()
        with pytest.warns(fxq.PluginWarning):
            registry = load(strict=False)
        seen.add((str(registry), tuple(failure.provider.dist for failure in registry.failures)))
    assert len(seen) == 1
    assert seen.pop()[1] == ("fxq-beta", "fxq-gamma")


def test_what_is_first_on_sys_path_hides_what_an_import_would_not_get(dists: Dists, install: Install) -> None:
    install("fxq-alpha", pattern("celu"), version="1.0")
    install("fxq-alpha", pattern("celu"), version="2.0")
    assert ours(load()) == {"celu": "fxq-alpha 2.0"}


def test_two_distributions_with_one_entry_point_name_are_an_error(dists: Dists, install: Install) -> None:
    install("fxq-beta", pattern("b"), entry_points="[fxq]\nmy.ops = fxq_beta\n", version="2.0")
    install("fxq-alpha", pattern("a"), entry_points="[fxq]\nmy-ops = fxq_alpha\n")
    with pytest.raises(fxq.PluginConflictError) as caught:
        load(strict=False)
    assert str(caught.value) == (
        f"fxq-alpha 1.0 ({dists.file('fxq_alpha')}) and fxq-beta 2.0 ({dists.file('fxq_beta')}) both have an entry "
        "point 'my.ops': uninstall one of them, or block it with load_plugins(block=('fxq-beta',))"
    )
    assert ours(load("fxq-beta")) == {"a": "fxq-alpha 1.0"}
    assert ours(load("fxq-alpha")) == {"b": "fxq-beta 2.0"}


@pytest.mark.parametrize("name", ["fxq-al.pha", "FXQ_Al-Pha", "special_ops", "Special.OPS"])
def test_block_takes_names_of_distributions_and_entry_points_however_they_are_spelled(
    name: str, install: Install
) -> None:
    install("fxq-al.pha", "raise RuntimeError", entry_points="[fxq]\nspecial-ops = fxq_alpha\n")
    assert ours(load(name)) == {}


def test_a_block_that_is_a_lone_name_is_refused() -> None:
    with pytest.raises(TypeError) as caught:
        fxq.load_plugins(block="fxq-alpha")
    assert str(caught.value) == "block takes a tuple of names, not 'fxq-alpha'; write block=('fxq-alpha',)"


def test_an_entry_point_of_another_group_is_no_plugin(install: Install) -> None:
    install("other-alpha", "raise RuntimeError", entry_points="[pytest11]\nalpha = other_alpha\n")
    assert ours(load()) == {}


BROKEN = {
    "raises at import": ("raise ImportError('no kernel')", "ImportError: no kernel"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "exits without a word": ("raise SystemExit", "SystemExit"),
    "says much": ("raise ValueError('first\\nsecond')", "ValueError: first"),
    "can't say": (
        "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Mute",
        "Mute",
    ),
    "misspells a hook": (
        hook("fxq_pattern", "yield Pattern('p', nn.CELU)"),
        "PluginError: there is no hook 'fxq_pattern'; did you mean 'fxq_patterns'?",
    ),
    "has another signature": (
        "from fxq_core import hookimpl\n@hookimpl\ndef fxq_patterns(registry):\n    return ()",
        "PluginError: hook 'fxq_patterns' takes no arguments, but is defined with 'registry'",
    ),
    "yields something else": (
        hook("fxq_patterns", "yield 'celu'"),
        "PluginError: fxq-broken 1.0: fxq_patterns yielded 'celu', which is no Pattern; yield Pattern records only",
    ),
    "yields another record": (
        hook("fxq_observers", "yield Pattern('p', 'relu')"),
        "PluginError: fxq-broken 1.0: fxq_observers yielded Pattern(name='p', ops=(frozenset({'relu'}),), priority=0, "
        "shares_qparams=False, reject=None, weight_only=False), which is no ObserverSpec; yield ObserverSpec records "
        "only",
    ),
    "stops half-way": (
        hook("fxq_patterns", "yield Pattern('p', nn.CELU)", "raise RuntimeError('half-way')"),
        "PluginError: fxq_patterns raised RuntimeError: half-way",
    ),
    "makes a bad record": (
        hook("fxq_patterns", "yield Pattern('p', {3})"),
        "PluginError: fxq_patterns raised ValueError: 3 is no module type, function or method name",
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
    assert failure.traceback.startswith("Traceback")
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


@pytest.mark.parametrize("group", ["fxq", "console_scripts"])
def test_a_damaged_entry_point_file_costs_only_its_distribution(group: str, install: Install) -> None:
    install("fxq-alpha", pattern("a"))
    install("some-damaged", "", entry_points=f"[{group}]\nthis is no entry point\n")
    assert ours(load()) == {"a": "fxq-alpha 1.0"}


def test_a_distribution_without_metadata_costs_only_itself(install: Install) -> None:
    install("fxq-alpha", pattern("a"))
    install("fxq-damaged", pattern("d"), metadata=False)
    registry = fxq.load_plugins(block=(*INSTALLED, "damaged"))
    assert ours(registry) == {"a": "fxq-alpha 1.0"}


def test_importing_the_core_imports_no_plugin(dists: Dists) -> None:
    folder = dists.make("fxq-alpha", "raise SystemExit(3)")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import fxq_core, importlib_metadata\n"
        "points = importlib_metadata.entry_points(group='fxq')\n"
        "assert 'alpha' in points.names\n"
        "print(sorted({p.module.split('.')[0] for p in points} & set(sys.modules)), 'fxq_core.native' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"
