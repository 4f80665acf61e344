"""Everything that can be wrong at once, found in any order: the outcome is the same, to the letter."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import fxq_core as fxq

from support.distributions import Dists, hook, load, pattern


def lowering(engine: str, name: str, priority: int = 0) -> str:
    record = f"Lowering(engine={engine!r}, pattern={name!r}, emit=print, priority={priority})"
    return hook("fxq_lowerings", f"yield {record}")


# what is wrong with each, by the last part of its name; those that start with "ok" work
SOURCES = {
    "ok": pattern("fine"),
    "ok-user": "import fxq_ok\n" + pattern("user"),
    "ok-dormant": lowering("an-engine-that-is-not-installed", "fine"),
    "ok-first": lowering("tpu", "conv2d", 5),
    "ok-second": lowering("tpu", "conv2d", 3),
    "ok-slow": "import time\ntime.sleep(0.01)\n" + pattern("slow"),
    "crash": "raise ImportError('no kernel')",
    "exit": "raise SystemExit(3)",
    "user": "import fxq_crash\n" + pattern("of_the_user"),
    "half": hook("fxq_patterns", "yield Pattern('half', nn.CELU)", "raise RuntimeError('half-way')"),
    "misspelt": hook("fxq_pattern", "yield Pattern('p', nn.CELU)"),
    "signature": "from fxq_core import hookimpl\n@hookimpl\ndef fxq_patterns(registry):\n    return ()",
    "record": hook("fxq_engines", "yield 'tpu'"),
    "unknown": lowering("tpu", "conv2"),
    "orphan": lowering("tpu", "half"),
    "api": "FXQ_API = '>=2'\n" + pattern("api"),
    "twice": hook("fxq_observers", *["yield ObserverSpec('o', MinMaxObserver)"] * 2),
}
CONFLICTS = {
    "engine-b": hook("fxq_engines", "yield dataclasses.replace(REFERENCE, name='tpu')"),
    "engine-a": hook("fxq_engines", "yield dataclasses.replace(REFERENCE, name='tpu')"),
    "pattern-b": pattern("same"),
    "pattern-a": pattern("same"),
    "lowering-b": lowering("tpu", "same"),
    "lowering-a": lowering("tpu", "same"),
}
MANY = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make(dists: Dists, sources: dict[str, str]) -> list[str]:
    return [
        dists.make(f"fxq-{name}", source, entry_points=f"[fxq]\n{name} = fxq_{name.replace('-', '_')}\n")
        for name, source in sources.items()
    ]


def in_order(dists: Dists, folders: Iterable[str], what: Callable[[], str]) -> str:
    """What comes of it with the distributions in this order on sys.path, none of their modules imported yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*folders, *sys.path])
        importlib.invalidate_caches()
        dists.forget()
        return what()


def outcome() -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        registry = load(strict=False)
    rest = [registry.plugins, registry.failures, registry.left_out]
    told = [str(warning.message) for warning in caught]
    return "\n".join([str(registry), *(str([one.provider for one in part]) for part in rest), *told])


def conflict() -> str:
    with pytest.raises(fxq.PluginConflictError) as caught:
        load(strict=False)
    return str(caught.value)


def first_failure() -> str:
    with pytest.raises(fxq.PluginError) as caught:
        load(strict=True)
    return str(caught.value)


@MANY
@given(data=st.data())
def test_the_outcome_does_not_depend_on_the_order_of_folders(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dists = Dists(tmp_path_factory.mktemp("dists"))
    folders = make(dists, SOURCES)
    shuffled = data.draw(st.permutations(folders))
    try:
        text = in_order(dists, folders, outcome)
        assert in_order(dists, shuffled, outcome) == text
        assert in_order(dists, shuffled, first_failure) == (
            "plugin fxq-api 1.0 (entry point 'api') failed to load: it is made for the core API >=2, but fxq-core has "
            "1.0; pip install --upgrade fxq-core; mend it, uninstall it, or block it"
        )
        lines = text.splitlines()
        assert [line.split()[1] for line in lines if line.startswith("failed: ")] == [
            f"fxq-{name}" for name in sorted(set(SOURCES) - {"unknown", "orphan"}) if not name.startswith("ok")
        ] + ["fxq-orphan", "fxq-unknown"]
        assert sum("everything else works without it" in line for line in lines) == 11
        assert "  fine  (fxq-ok 1.0)" in lines
        assert "  conv2d on tpu  (fxq-ok-first 1.0)" in lines
        assert "  fine on an-engine-that-is-not-installed  (fxq-ok-dormant 1.0)" in lines
    finally:
        dists.forget()


@MANY
@given(data=st.data())
def test_of_several_conflicts_the_same_is_told_whatever_the_order(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dists = Dists(tmp_path_factory.mktemp("dists"))
    folders = make(dists, CONFLICTS)
    try:
        a, b = dists.file("fxq_engine_a"), dists.file("fxq_engine_b")
        assert in_order(dists, data.draw(st.permutations(folders)), conflict) == (
            f"fxq-engine-a 1.0 ({a}) and fxq-engine-b 1.0 ({b}) both provide engine 'tpu': uninstall one of them, or "
            "block it with load_plugins(block=('fxq-engine-b',))"
        )
    finally:
        dists.forget()
