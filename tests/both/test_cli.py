"""The commands on real engines and a third party's distribution, as they are installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import importlib_metadata
import pytest

import fxq_core

from support.cli import fxq, table
from support.engines import usable_engines

OPEN = {"fxq-core", "fxq-celu", "fxq-fbgemm", "fxq-qnnpack"}
NETS = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.CELU(), nn.Flatten(), nn.Linear(8 * 4 * 4, 5))
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "small_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "small_nets", raising=False)
    return "small_nets:make"


def test_engines_says_which_work(registry: fxq_core.Registry) -> None:
    result = fxq("engines")
    assert (result.exit_code, result.stderr) == (0, "")
    usable = {row["engine"] for row in table(result.stdout) if row["usable"] == "yes"}
    assert usable == {*usable_engines(), "reference"}
    assert {row["engine"]: row["claimed by"] for row in table(result.stdout) if row["claimed by"]} == {
        name: str(engine.provider) for name, engine in registry.engines.items()
    }


def test_plugins_lists_them_all() -> None:
    rows = table(fxq("plugins").stdout)
    assert {row["plugin"] for row in rows} >= OPEN
    assert {row["state"] for row in rows} == {"loaded"}


def test_patterns_says_that_a_third_party_lowers_for_a_family(engine: str) -> None:
    celu = next(row for row in table(fxq("patterns", "--engine", engine).stdout) if row["pattern"] == "celu")
    assert celu == {"pattern": "celu", engine: f"fxq-celu {importlib_metadata.version('fxq-celu')} (torch)"}


def test_explain_names_whose_code_computes_what(engine: str, nets: str, registry: fxq_core.Registry) -> None:
    result = fxq("explain", nets, "--engine", engine, "--input", "1,3,6,6", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    own, third = str(registry.engines[engine].provider), f"fxq-celu {importlib_metadata.version('fxq-celu')}"
    assert document["engine"] == {"name": engine, "provider": own}
    assert [node["provider"] for node in document["nodes"] if node["verdict"] == "int8"] == [own, third, own, own]
    assert (document["summary"]["int8"], document["summary"]["float"]) == (4, 0)
    assert document["summary"]["int8_parameters"] == 3 * 8 * 9 + 128 * 5


def test_doctor_finds_no_fault() -> None:
    result = fxq("doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    for name in usable_engines():
        (line,) = (line for line in result.stdout.splitlines() if line.startswith(f"- {name} ("))
        assert "reference engine" in line
    assert result.stdout.endswith("### Faults\n\nnone\n\n")
