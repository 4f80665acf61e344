"""docs/performance.md and its charts are what the generator makes of benchmarks/speed/latest.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from results import results

from speed.cli import LATEST
from speed.page import DOCS, PARTIAL, page, write
from speed.systems import SYSTEMS

WRITTEN = page(json.loads(LATEST.read_text()))


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == WRITTEN[name], "run python benchmarks/speed --page"


def test_the_results_name_no_folder_of_the_machine() -> None:
    assert not re.findall(r"/(?:home|root|tmp|usr|work|var|opt)\b", LATEST.read_text())


def test_the_results_are_of_known_systems() -> None:
    assert set(json.loads(LATEST.read_text())["settings"]["systems"]) <= {*SYSTEMS, "fxq-x86-tuned", "fxq-openvino"}


def test_a_partial_run_is_called_one(tmp_path: Path) -> None:
    found = results()
    found["settings"]["whole"] = False
    assert page(found)["performance.md"].count(PARTIAL) == 1
    assert PARTIAL not in page(results())["performance.md"]


def test_a_page_of_other_results(tmp_path: Path) -> None:
    write(results(), tmp_path)
    text = (tmp_path / "performance.md").read_text()
    assert "Measured on A CPU (avx2, avx512_vnni)" in text
    assert "| ResNet-18 | 2.00 | fails | 0.50 (0.25 to 0.75) |" in text
    assert "{" not in text
    images = re.findall(r"\]\(([\w-]+\.svg)\)", text)
    assert sorted(images) == sorted(file.name for file in tmp_path.glob("*.svg"))
