"""The README: its Python runs, what it shows is what is printed, and its plugin is the distribution in the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core import engines
from fxq_core.discovery import RECORD_TYPES
from fxq_core.native import engine
from fxq_core.reference import REFERENCE

from support import pages
from support.distributions import hide
from support.pages import message

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = pages.blocks(README)
TOML = next(block.code for block in BLOCKS if block.language == "toml" and not block.title)
TEXT = [block.code.rstrip("\n") for block in BLOCKS if block.language == "text"]
DIST = ROOT / "tests" / "dists" / "fxq_celu"


def test_its_python_runs_and_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope = pages.run("README.md", README)
    assert (tmp_path / "int8.pt").exists()
    state = torch.load(tmp_path / "int8.pt", weights_only=True)
    assert state["0.weight"].dtype is torch.int8
    assert (tmp_path / "int8.toml").read_text() == TOML
    assert fxq.Config.load(tmp_path / "int8.toml") == scope["config"]


def test_what_it_says_without_a_plugin() -> None:
    registry = hide(fxq.load_plugins(block=("fxq-fbgemm", "fxq-qnnpack")))
    with pytest.raises(fxq.EngineError) as caught:
        fxq.quantize(nn.Linear(2, 2).eval(), [torch.rand(1, 2)], registry=registry)
    assert message(caught.value) == TEXT[0]


def test_what_it_says_where_torch_lacks_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = fxq.load_plugins()
    monkeypatch.setattr(engine, "advertised", lambda: {"fbgemm", "onednn", "x86"})
    with pytest.raises(fxq.EngineError) as caught:
        engines.choose_engine(registry, "qnnpack")
    assert message(caught.value) == TEXT[1]


def test_what_an_uncalibrated_model_says() -> None:
    quantizer = fxq.Quantizer(nn.Linear(2, 2).eval(), torch.rand(1, 2))
    with pytest.raises(fxq.CalibrationError) as caught:
        quantizer.quantize()
    assert message(caught.value) == TEXT[3]


def test_what_a_conflict_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fxq_abacus.py").write_text(
        "import dataclasses\nfrom fxq_core import hookimpl\nfrom fxq_core.reference import REFERENCE\n"
        "@hookimpl\ndef fxq_engines():\n    yield dataclasses.replace(REFERENCE, name='x86')\n"
    )
    info = tmp_path / "fxq_abacus-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fxq-abacus\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fxq]\nabacus = fxq_abacus\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(fxq.PluginConflictError) as caught:
        fxq.load_plugins()
    # the README shows no folders of whoever wrote it
    assert re.sub(r"\([^()]*/(fxq_\w+(/__init__)?\.py)\)", r"(.../\1)", message(caught.value)) == TEXT[4]


def test_its_plugin_is_the_distribution_in_the_tests() -> None:
    shown = pages.files(README)
    assert sorted(shown) == ["fxq_celu/__init__.py", "pyproject.toml"]
    assert shown == {path: (DIST / path).read_text() for path in shown}


def test_it_names_every_hook_and_every_official_engine() -> None:
    registry = fxq.load_plugins()
    for name in (*(e for e in registry.engines if e != REFERENCE.name), "reference"):
        assert f"`{name}`" in README
    for hook in RECORD_TYPES:
        assert f"| `{hook}` |" in README
    for observer in registry.observers:
        assert f"`{observer}`" in README
