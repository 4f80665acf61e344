"""The tutorial: its files are the distribution in the tests, and its suite passes, and can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import pages

ROOT = Path(__file__).parents[2]
DIST = ROOT / "tests" / "dists" / "fxq_celu"
FILES = pages.files((ROOT / "docs" / "tutorial.md").read_text())


def test_its_files_are_the_distribution_word_for_word() -> None:
    made = {"build", "__pycache__"}
    paths = [path.relative_to(DIST) for path in DIST.rglob("*") if path.is_file()]
    kept = [path for path in paths if not made & set(path.parts) and not path.parts[0].endswith(".egg-info")]
    assert {path.as_posix(): (DIST / path).read_text() for path in kept} == FILES


def run_suite(folder: Path) -> subprocess.CompletedProcess[str]:
    """Write the files that a reader writes, and run what a reader runs."""
    for path, code in FILES.items():
        pages.write(folder / path, code)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_suite_passes_the_first_time(tmp_path: Path) -> None:
    result = run_suite(tmp_path)
    assert (result.returncode, "failed" in result.stdout) == (0, False), result.stdout


def test_its_suite_finds_a_lowering_that_forgets_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "fxq_celu/__init__.py"
    assert "module.alpha" in FILES[module]
    monkeypatch.setitem(FILES, module, FILES[module].replace("module.alpha", "1.0"))
    result = run_suite(tmp_path)
    assert result.returncode == 1
    assert "test_is_within_one_code_of_the_reference[x86-small alpha]" in result.stdout
    assert "default alpha]" not in result.stdout.partition("short test summary")[2]
