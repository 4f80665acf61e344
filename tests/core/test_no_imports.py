"""Only loading plugins imports plugins: importing the core does not, and no config or state of a model ever does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.distributions import Dists

WATCH = """
import json, sys
sys.path.insert(0, sys.argv[1])
import importlib_metadata, torch
import fxq_core as fxq
from torch import nn
assert "alpha" in importlib_metadata.entry_points(group="fxq").names

def new(before):
    return sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
"""


def process(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WATCH + code, *args], capture_output=True, text=True, check=False)


def run(code: str, *args: str) -> object:
    """What a process of its own prints last, as JSON."""
    done = process(code, *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def folder(dists: Dists) -> str:
    return dists.make("fxq-alpha", "import os\nos._exit(3)")


def test_loading_plugins_imports_it_which_ends_that_process(folder: str) -> None:
    assert process("fxq.load_plugins()", folder).returncode == 3


def test_importing_the_core_imports_no_plugin(folder: str) -> None:
    points = "{p.module.split('.')[0] for p in importlib_metadata.entry_points(group='fxq')}"
    code = f"print(json.dumps([sorted({points} & set(sys.modules)), 'fxq_core.native' in sys.modules]))"
    assert run(code, folder) == [[], False]


def test_reading_a_config_imports_nothing_that_it_names(folder: str, tmp_path: Path) -> None:
    """Types and patterns in it are names to compare with, of plugins that may be installed or not."""
    config = tmp_path / "config.toml"
    config.write_text(
        'skip = [{ type = "fxq_alpha.Layer" }, "fxq_alpha"]\n\n'
        '[[rules]]\ntype = "fxq_alpha.Layer"\nobserver = "fxq_alpha:Observer"\n'
    )
    code = """
before = set(sys.modules)
config = fxq.Config.load(sys.argv[2])
print(json.dumps([len(config.skip), len(config.rules), new(before)]))
"""
    assert run(code, folder, str(config)) == [2, 1, []]


def test_loading_a_models_state_imports_nothing(folder: str, tmp_path: Path) -> None:
    """A state is tensors and plain data, which torch reads without running anything; the plan is the user's own."""
    code = """
registry = fxq.load_plugins(block=[p.name for p in importlib_metadata.entry_points(group="fxq")])
torch.manual_seed(0)
model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval(), torch.rand(2, 3, 8, 8)
lowered = fxq.quantize(model, [x], "reference", registry=registry)
torch.save(lowered.state_dict(), sys.argv[2])
again = fxq.quantize(model, [x * 2], "reference", registry=registry)
torch.load(sys.argv[2], weights_only=True)  # torch's own late imports
before = set(sys.modules)
again.load_state_dict(torch.load(sys.argv[2], weights_only=True))
print(json.dumps([torch.equal(again(x), lowered(x)), new(before)]))
"""
    assert run(code, folder, str(tmp_path / "state.pt")) == [True, []]
