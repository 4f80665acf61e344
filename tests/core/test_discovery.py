"""Discovery: which plugins are found, whatever the order of folders; damage is told, and costs only itself."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fxq_core as fxq

from support.distributions import Dists, hook, load, pattern

Install = Callable[..., None]


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


def failures(registry: fxq.Registry) -> list[tuple[str, str, str]]:
    return [(str(f.provider), f.provider.entry_point, f.error) for f in registry.failures]


AGAIN = "reinstall it with pip install --force-reinstall fxq-damaged"


def test_a_damaged_entry_point_file_costs_only_its_distribution(install: Install) -> None:
    install("fxq-alpha", pattern("a"))
    install("some-damaged", "", entry_points="[console_scripts]\nthis is no entry point\n")
    assert ours(load()) == {"a": "fxq-alpha 1.0"}
    install("fxq-damaged", "", entry_points="[fxq]\nthis is no entry point\n")
    with pytest.warns(fxq.PluginWarning):
        registry = load(strict=False)
    assert ours(registry) == {"a": "fxq-alpha 1.0"}
    error = f"its entry_points.txt can't be read; {AGAIN}"
    assert failures(registry) == [("fxq-damaged 1.0", "fxq-damaged", error)]


@pytest.mark.parametrize("metadata", [None, b"", b"Name: fxq-damaged\n", b"Version: 1.0\n", b"\xff\xfe\x00"])
def test_a_distribution_without_readable_metadata_says_to_reinstall_it(
    metadata: bytes | None, dists: Dists, install: Install
) -> None:
    install("fxq-alpha", pattern("a"))
    install("fxq-damaged", pattern("d"), metadata=False)
    if metadata is not None:
        (dists.folders[-1] / "fxq_damaged-1.0.dist-info" / "METADATA").write_bytes(metadata)
    with pytest.warns(fxq.PluginWarning):
        registry = load(strict=False)
    assert ours(registry) == {"a": "fxq-alpha 1.0"}
    assert failures(registry) == [("fxq-damaged", "damaged", f"its metadata can't be read; {AGAIN}")]
    assert ours(load("fxq-damaged")) == {"a": "fxq-alpha 1.0"}


def test_a_distribution_damaged_beyond_knowing_whose_it_is_is_passed_over(dists: Dists, install: Install) -> None:
    install("fxq-alpha", pattern("a"))
    install("fxq-damaged", pattern("d"))
    (dists.folders[-1] / "fxq_damaged-1.0.dist-info" / "entry_points.txt").write_bytes(b"[fxq]\n\xff\xfe")
    assert ours(load()) == {"a": "fxq-alpha 1.0"}


def test_one_distribution_with_an_entry_point_twice_costs_only_itself(install: Install) -> None:
    install("fxq-alpha", pattern("a"))
    install("fxq-beta", pattern("b"), entry_points="[fxq]\nmy.ops = fxq_beta\nmy-ops = fxq_beta\n")
    with pytest.warns(fxq.PluginWarning):
        registry = load(strict=False)
    assert ours(registry) == {"a": "fxq-alpha 1.0"}
    assert failures(registry) == [
        ("fxq-beta 1.0", "my-ops", "it has two entry points 'my-ops'; one of them needs another name")
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_versions_in_one_folder_the_newer_counts(
    order: int, dists: Dists, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade that was cut short leaves the old ``.dist-info`` behind; which is listed first is chance."""
    folder = Path(dists.make("fxq-alpha", pattern("a"), version="9.0"))
    for version in ("10.0", "2.0"):
        old = Path(dists.make("fxq-alpha", "", version=version)) / f"fxq_alpha-{version}.dist-info"
        old.rename(folder / old.name)
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path=".": sorted(listed(path))[::order])
    monkeypatch.syspath_prepend(str(folder))
    assert ours(load()) == {"a": "fxq-alpha 10.0"}


@pytest.mark.parametrize("package", [False, True])
def test_a_plugin_knows_its_file(package: bool, dists: Dists, install: Install) -> None:
    install("fxq-alpha", pattern("a"), entry_points="[fxq]\nalpha = fxq_alpha.ops\n" if package else None)
    file = dists.folders[-1] / "fxq_alpha.py"
    if package:
        (file.parent / "fxq_alpha").mkdir()
        (file.parent / "fxq_alpha" / "__init__.py").touch()
        file = file.rename(file.parent / "fxq_alpha" / "ops.py")
    assert load().plugins[1].file == str(file)


def test_the_file_of_a_plugin_that_is_installed_in_place_is_where_it_is_imported_from(
    dists: Dists, install: Install
) -> None:
    install("fxq-elsewhere", "", entry_points="")
    source = dists.folders[-1] / "fxq_alpha.py"
    source.write_text(pattern("a"))
    install("fxq-alpha", "", module="unused", entry_points="[fxq]\nalpha = fxq_alpha\n")
    assert load().plugins[1].file == str(source)


def test_the_file_of_a_plugin_without_a_module_is_its_folder(dists: Dists, install: Install) -> None:
    install("fxq-alpha", "", entry_points="[fxq]\nalpha = not_here\n")
    install("fxq-beta", "", entry_points="[fxq]\nalpha = nor_there\n")
    with pytest.raises(fxq.PluginConflictError) as caught:
        load()
    first, second = dists.folders
    assert str(caught.value).startswith(f"fxq-alpha 1.0 ({first}) and fxq-beta 1.0 ({second}) both have an entry point")
