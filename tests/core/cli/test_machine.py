"""What fxq runs on, also where the system says little of it."""

from __future__ import annotations

import platform
from pathlib import Path

import importlib_metadata
import pytest
import torch

from fxq_core import cpu
from fxq_core.cli import machine

FIRST = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse4_1 avx2 avx512_vnni\n"
X64 = f"{FIRST}\nprocessor\t: 1\nflags\t: amx_int8\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\n"


def test_versions_are_those_of_the_distributions() -> None:
    first, system, *rest = machine.versions(("fxq-core", "no-such-thing"))
    assert first.startswith(f"Python {platform.python_version()} (")
    assert system == platform.platform()
    assert rest == [f"fxq-core {importlib_metadata.version('fxq-core')}", "no-such-thing: not installed"]


@pytest.mark.parametrize(
    ("info", "lines"),
    [
        (X64, ["Some CPU @ 2 GHz", "has sse4_1 avx2 avx512_vnni"]),
        (ARM, ["has asimd asimddp"]),
        ("flags : fpu\n", ["has none of the features that int8 kernels are chosen by"]),
        ("", []),
        (None, []),
    ],
)
def test_a_cpu_is_described_as_far_as_it_is_known(
    info: str | None, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    if info is not None:
        path.write_text(info)
    monkeypatch.setattr(cpu, "CPUINFO", path)
    first, *middle, last = machine.cpu()
    assert first == f"{platform.machine()}, torch uses {torch.backends.cpu.get_cpu_capability()}"
    assert middle == lines
    assert last.endswith(f" CPUs, {torch.get_num_threads()} threads in torch")


def test_only_the_variables_of_fxq_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQ_PLUGINS", "fxq-tiny")
    monkeypatch.setenv("OTHER_FXQ_THING", "1")
    lines = list(machine.environment())
    assert lines == sorted(lines)
    assert "FXQ_PLUGINS=fxq-tiny" in lines
    assert all(line.startswith("FXQ_") for line in lines)
