"""``fxq doctor``: the block for a bug report; it ends in the faults, and the exit code says if there are any."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable

import importlib_metadata
import pytest
import torch

from fxq_core import API_VERSION
from fxq_core.engines import advertised

from support.cli import fxq
from support.distributions import CORE, Dists, hook

Install = Callable[..., None]
CURRENT = torch.backends.quantized.engine
ALONE = "no engine but the reference engine works here; install a plugin that brings one"


def engine(name: str, **changes: str) -> str:
    settings = "".join(f", {key}={value}" for key, value in changes.items())
    return hook("fxq_engines", f"yield dataclasses.replace(REFERENCE, name={name!r}{settings})")


def sections(text: str) -> dict[str, list[str]]:
    """The lines of each section."""
    found = {}
    for section in text.split("### ")[1:]:
        title, _, lines = section.partition("\n\n")
        assert lines.endswith("\n\n")
        found[title] = lines.removesuffix("\n\n").split("\n")
    return found


def test_all_is_well(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQ_PLUGINS", "tiny")
    install("fxq-tiny", f"FXQ_API = '>=1,<2'\n{engine('tiny')}")
    result = fxq("doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    found = sections(result.stdout)
    assert list(found) == ["Versions", "CPU", "Environment", "Plugins", "Engines", "Faults"]
    versions = [f"- {n} {importlib_metadata.version(n)}" for n in ("fxq-core", "torch", "pluggy", "click", "rich")]
    assert found["Versions"][0].startswith(f"- Python {platform.python_version()} ")
    assert found["Versions"][2:] == [*versions, "- fxq-tiny 1.0", f"- core API {API_VERSION}"]
    assert found["CPU"][0] == f"- {platform.machine()}, torch uses {torch.backends.cpu.get_cpu_capability()}"
    assert "- FXQ_PLUGINS=tiny" in found["Environment"]
    assert found["Plugins"][-1] == "- fxq-tiny 1.0 (entry point 'tiny', api >=1,<2) loaded: 1 engine"
    assert "- tiny (fxq-tiny 1.0): the same as the reference engine" in found["Engines"]
    assert found["Faults"] == ["none"]


def test_every_engine_has_a_line(install: Install) -> None:
    install("fxq-tiny", engine("tiny"))
    install("fxq-chip", engine("chip", reject="lambda: 'this machine has no such chip'"))
    lines = sections(fxq("doctor").stdout)["Engines"]
    names = [line.removeprefix("- ").partition(" ")[0] for line in lines]
    assert names == sorted({"tiny", "chip", "reference", *advertised()})
    assert "- chip (fxq-chip 1.0): this machine has no such chip" in lines
    assert any(re.fullmatch(rf"- reference \({CORE}\): SQNR \d\d\.\d dB to float", line) for line in lines)
    for name in advertised():
        said = "current" if name == CURRENT else "advertised"
        assert any(line.startswith(f"- {name} ({said}): is claimed by no installed plugin; ") for line in lines)


def faults(code: int = 1) -> list[str]:
    result = fxq("doctor")
    assert result.exit_code == code
    return sections(result.stdout)["Faults"]


def test_the_core_alone_is_a_fault() -> None:
    assert faults() == [f"- {ALONE}"]


def test_a_plugin_that_is_left_out_is_the_way_out(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fxq-tiny", engine("tiny"))
    monkeypatch.setenv("FXQ_DISABLE_PLUGINS", "1")
    assert faults() == ["- no engine but the reference engine works here; allow one of the plugins that are left out"]


def test_an_engine_that_only_refuses_is_none(install: Install) -> None:
    install("fxq-tiny", engine("tiny"))
    install("fxq-chip", engine("chip", reject="lambda: 'this machine has no such chip'"))
    assert faults(0) == ["none"]


def test_a_plugin_that_fails_to_load_is_a_fault(install: Install) -> None:
    install("fxq-tiny", engine("tiny"))
    install("fxq-broken", "raise ImportError('no kernel')")
    result = fxq("doctor")
    assert result.exit_code == 1
    assert result.stderr == (
        "warning: plugin fxq-broken 1.0 (entry point 'broken') failed to load: ImportError: no kernel; "
        "everything else works without it\n"
    )
    found = sections(result.stdout)
    assert "- fxq-broken 1.0 (entry point 'broken') failed: ImportError: no kernel" in found["Plugins"]
    assert found["Faults"] == [
        "- fxq-broken 1.0 failed to load: ImportError: no kernel; 'fxq plugins -v' shows the traceback"
    ]


@pytest.mark.skipif(CURRENT == "none", reason="this build of torch has no engine")
def test_an_engine_that_torch_advertises_but_that_refuses_is_a_fault(install: Install) -> None:
    install("fxq-tiny", engine("tiny"))
    install("fxq-ours", engine(CURRENT, reject="lambda: 'its conv gives wrong numbers'"))
    assert faults() == [
        f"- engine {CURRENT!r} of fxq-ours 1.0 is advertised by torch but can't run here: its conv gives wrong numbers"
    ]


def test_an_engine_that_gives_wrong_numbers_is_a_fault(install: Install) -> None:
    install("fxq-tiny", engine("tiny"))
    install("fxq-zero", "import torch\n" + engine("zero", finish="lambda m: Zero(m)") + ZERO)
    assert faults() == ["- engine 'zero' of fxq-zero 1.0 fails its self-test: SQNR 0.0 dB to the reference engine"]


ZERO = """
class Zero(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module
    def forward(self, *args):
        return self.module(*args) * 0
"""


def test_one_that_fails_too_and_none_is_left(install: Install) -> None:
    install("fxq-fails", engine("fails", activation="dataclasses.replace(REFERENCE.activation, observer='none')"))
    (fault, alone) = faults()
    assert fault == (
        "- engine 'fails' of fxq-fails 1.0 fails its self-test: engine 'fails' of fxq-fails 1.0 wants observer 'none', "
        "which no plugin provides; installed: entropy, histogram, minmax, moving-average, percentile"
    )
    assert alone == f"- {ALONE}"


def test_whatever_a_plugin_raises_is_one_line(install: Install) -> None:
    install("fxq-fails", engine("fails", active="fail") + "\ndef fail():\n    raise RuntimeError('first\\nsecond')\n")
    (fault, _) = faults()
    assert fault == (
        "- engine 'fails' of fxq-fails 1.0 fails its self-test: fxq-fails 1.0: engine 'fails' failed to become active "
        "with RuntimeError: first; take another engine until the plugin is mended"
    )


def test_plugins_in_conflict_are_a_fault_and_the_rest_is_still_told(install: Install) -> None:
    for name in ("fxq-alpha", "fxq-beta"):
        install(name, engine("tiny"))
    result = fxq("doctor")
    assert (result.exit_code, result.stderr) == (1, "")
    found = sections(result.stdout)
    assert list(found) == ["Versions", "CPU", "Environment", "Faults"]
    files = [importlib_metadata.distribution(f"fxq-{n}").locate_file(f"fxq_{n}.py") for n in ("alpha", "beta")]
    assert found["Faults"] == [
        f"- fxq-alpha 1.0 ({files[0]}) and fxq-beta 1.0 ({files[1]}) both provide engine 'tiny': "
        "uninstall one of them, or block it with load_plugins(block=('fxq-beta',))"
    ]


def test_an_engine_that_kills_the_process_has_been_named(dists: Dists) -> None:
    folder = dists.make("fxq-deadly", "import os\n" + engine("deadly", reject="lambda: os._exit(9)"))
    code = "import sys; sys.path.insert(0, sys.argv[1]); sys.argv = ['fxq', 'doctor']; import runpy\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}runpy.run_module('fxq_core', run_name='__main__')", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FXQ_DISABLE_PLUGINS": "", "FXQ_PLUGINS": "deadly"},
    )
    assert done.returncode == 9
    assert done.stdout.endswith("\n### Engines\n\n- deadly (fxq-deadly 1.0): ")


def test_it_names_no_folder_and_no_user(install: Install) -> None:
    install("fxq-tiny", engine("tiny"))
    text = fxq("doctor").stdout
    home = os.path.expanduser("~")
    assert [path for path in (home, os.getcwd(), *sys.path) if len(path) > 1 and path in text] == []
