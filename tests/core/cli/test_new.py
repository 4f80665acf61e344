"""``fxq new``: what is written works as it is, nothing is overwritten, and bad names get a sentence."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from packaging.specifiers import SpecifierSet
from torch import nn

import fxq_core
from fxq_core.cli import scaffold
from fxq_core.config.toml import tomllib

from support.cli import fails, fxq
from support.distributions import CORE, hook

KINDS = ("pattern", "engine", "observer")
FILES = {
    ".github/workflows/test.yml",
    ".gitignore",
    "README.md",
    "pyproject.toml",
    "src/fxq_my_first/__init__.py",
    "src/fxq_my_first/py.typed",
    "tests/test_fxq_my_first.py",
    "tox.ini",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def plugin(here: Path) -> Callable[[str], ModuleType]:
    """The module of a distribution that the command has just written."""

    def plugin(kind: str) -> ModuleType:
        assert fxq("new", kind, "my-first").exit_code == 0
        source = here / "fxq-my-first" / "src" / "fxq_my_first" / "__init__.py"
        spec = importlib.util.spec_from_file_location("fxq_my_first", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return plugin


def quantized(module: ModuleType, op: nn.Module, engine: str, **how: Any) -> tuple[fxq_core.Report, float]:
    """The report on a small network with an op, and how far its output is from the float one."""
    torch.manual_seed(0)
    model, batch = nn.Sequential(nn.Linear(6, 8), op, nn.Linear(8, 3)).eval(), torch.randn(32, 6)
    registry = fxq_core.load_plugins(plugins=[module], strict=True)
    lowered = fxq_core.quantize(model, [batch], engine, registry=registry, **how)
    with torch.no_grad():
        return fxq_core.report(lowered), (lowered(batch) - model(batch)).abs().max().item()


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_distribution_is_written(kind: str, here: Path) -> None:
    result = fxq("new", kind, "my-first")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "wrote fxq-my-first to fxq-my-first, 8 files; next:\n"
        "  cd fxq-my-first\n"
        "  python -m pip install -e '.[test]'\n"
        "  python -m pytest\n"
        "then follow the numbered comments in src/fxq_my_first/__init__.py\n"
    )
    assert set(contents(here / "fxq-my-first")) == FILES


@pytest.mark.parametrize("kind", KINDS)
def test_no_placeholder_is_left(kind: str) -> None:
    texts = scaffold.render(kind, "fxq-my-first", "1.0")
    for text in texts.values():
        assert re.findall(r"\$(?!\{\{ matrix\.)|__module__|\.template", text) == []
    assert not any("__module__" in path for path in texts)


@pytest.mark.parametrize("kind", KINDS)
def test_python_files_are_short(kind: str) -> None:
    texts = scaffold.render(kind, "fxq-my-first", "1.0")
    assert max(len(text.splitlines()) for path, text in texts.items() if path.endswith(".py")) <= 60


@pytest.mark.parametrize("kind", KINDS)
def test_the_project_names_what_it_is_written_for(kind: str) -> None:
    project = tomllib.loads(scaffold.render(kind, "fxq-my-first", "1.0")["pyproject.toml"])["project"]
    engines = ["fxq-fbgemm", "fxq-qnnpack"] if kind == "pattern" else []
    assert project == {
        "name": "fxq-my-first",
        "version": "0.1.0",
        "description": scaffold.KINDS[kind],
        "readme": "README.md",
        "requires-python": ">=3.10",
        "dependencies": [f"fxq-core{scaffold.core_range(CORE.split()[1])}", "torch"],
        "optional-dependencies": {"test": ["fxq-core[testing]", *engines]},
        "entry-points": {"fxq": {"my-first": "fxq_my_first"}},
    }


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.1.0", ">=0.1,<0.2"),
        ("0.12.3", ">=0.12,<0.13"),
        ("1.4.2", ">=1.4,<2"),
        ("0.2.0.dev1", ">=0.2.0.dev1,<0.3"),
        ("2.0rc1+local", ">=2.0rc1,<3"),
    ],
)
def test_the_range_of_the_core_starts_at_the_one_in_use(version: str, expected: str) -> None:
    assert scaffold.core_range(version) == expected
    assert SpecifierSet(expected).contains(version, prereleases=True)


@pytest.mark.parametrize(("version", "expected"), [("1.0", ">=1.0,<2"), ("3.7", ">=3.7,<4")])
def test_the_plugin_states_the_interface_in_use(version: str, expected: str) -> None:
    for kind in KINDS:
        module = scaffold.render(kind, "fxq-my-first", version)["src/fxq_my_first/__init__.py"]
        assert f'\nFXQ_API = "{expected}"\n' in module


def test_the_pattern_works_as_it_is(plugin: Callable[[str], ModuleType]) -> None:
    module = plugin("pattern")
    report, error = quantized(module, nn.Softplus(), "reference")
    assert [(row.node, row.pattern) for row in report.rows if row.quantized][1] == ("_1", "softplus")
    assert error < 0.05
    records = fxq_core.load_plugins(plugins=[module], strict=True)
    assert ("torch", "softplus") in records.lowerings
    assert fxq_core.API_VERSION in SpecifierSet(module.FXQ_API)


def test_the_engine_works_as_it_is(plugin: Callable[[str], ModuleType]) -> None:
    report, error = quantized(plugin("engine"), nn.Hardswish(), "my-first")
    assert [row.provider for row in report.rows if row.quantized] == [CORE, "fxq_my_first", CORE]
    assert error < 0.05


def test_the_observer_works_as_it_is(plugin: Callable[[str], ModuleType]) -> None:
    module = plugin("observer")
    rule = fxq_core.Rule(nn.Linear, observer="my-first", weight_observer="my-first")
    _, error = quantized(module, nn.ReLU(), "reference", config=fxq_core.Config(rules=(rule,)))
    assert error < 0.05
    observer = module.MyFirstObserver(fxq_core.QSpec(torch.uint8, 0, 255, False, None, "my-first"))
    observer.observe(torch.tensor([-1.0, 3.0]))
    assert tuple(map(float, observer.range())) == pytest.approx((-1.2, 3.2))


@pytest.mark.parametrize("name", ["my-first", "fxq-my-first", "fxq_my_first", "My.First", "FXQ--my__first"])
def test_names_are_normalized_and_prefixed(name: str, here: Path) -> None:
    assert fxq("new", "pattern", name).exit_code == 0
    assert set(contents(here / "fxq-my-first")) == FILES


@pytest.mark.parametrize("name", ["", "fxq-", "2bit", "my first", "wörld", "a/b", "../up", "-", "a-", "$name"])
def test_what_is_no_name_is_refused(name: str, here: Path) -> None:
    assert fails(fxq("new", "pattern", "--", name)) == (
        f"error: {name!r} is no name for a distribution; use letters, digits and hyphens, with a letter first\n"
    )
    assert list(here.iterdir()) == []


def test_a_module_that_exists_is_not_hidden(here: Path) -> None:
    assert fails(fxq("new", "engine", "core")) == (
        f"error: there is a module fxq_core already, in {fxq_core.__file__}; choose another name, or uninstall it\n"
    )
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("kind", "name"), [("engine", "reference"), ("observer", "minmax")])
def test_a_name_of_the_core_is_refused(kind: str, name: str, here: Path) -> None:
    expected = f"error: {CORE} has an {kind} {name!r} already; choose another name\n"
    assert fails(fxq("new", kind, name)) == expected
    assert fails(fxq("new", kind, f"fxq-{name}")) == expected
    assert list(here.iterdir()) == []
    assert fxq("new", "pattern", name).exit_code == 0


def test_a_name_of_an_installed_plugin_is_refused(install: Callable[..., None]) -> None:
    install("fxq-small", hook("fxq_engines", "yield dataclasses.replace(REFERENCE, name='tiny')"))
    refused = "error: fxq-small 1.0 has an engine 'tiny' already; choose another name\n"
    assert fails(fxq("new", "engine", "tiny")) == refused
    assert fxq("new", "observer", "tiny").exit_code == 0


def test_another_folder_may_be_named(here: Path) -> None:
    (here / "empty").mkdir()
    for directory, quoted in (("empty", "empty"), ("new/deep one", "'new/deep one'")):
        result = fxq("new", "pattern", "my-first", "--directory", directory)
        assert result.stdout.splitlines()[:2] == [
            f"wrote fxq-my-first to {directory}, 8 files; next:",
            f"  cd {quoted}",
        ]
        assert set(contents(here / directory)) == FILES


def test_nothing_is_overwritten(here: Path) -> None:
    folder = here / "fxq-my-first"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    assert fails(fxq("new", "pattern", "my-first")) == (
        "error: fxq-my-first is not empty, and nothing is overwritten; choose another with --directory\n"
    )
    assert contents(folder) == {"README.md": "mine"}


def test_a_file_is_no_folder(here: Path) -> None:
    (here / "notes").write_text("mine")
    assert fails(fxq("new", "pattern", "my-first", "--directory", "notes")) == (
        "error: notes is a file, and nothing is overwritten; choose another with --directory\n"
    )
    assert fails(fxq("new", "pattern", "my-first", "--directory", "notes/deep")) == (
        "error: can't write to notes/deep: Not a directory; choose another with --directory\n"
    )
    assert contents(here) == {"notes": "mine"}


def test_a_wrong_command_line_is_told_apart() -> None:
    assert fails(fxq("new", "quantizer", "my-first"), 2) == (
        "error: Invalid value for '{pattern|engine|observer}': 'quantizer' is not one of 'pattern', 'engine', "
        "'observer'; see 'fxq new --help'\n"
    )
    assert fails(fxq("new", "pattern"), 2) == "error: Missing argument 'NAME'; see 'fxq new --help'\n"
