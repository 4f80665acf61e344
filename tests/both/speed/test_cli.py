"""What a command line asks for; only a whole run replaces what is committed."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from results import results

from speed import cli
from speed.cli import BATCHES, QUICK_MODELS, QUICK_ROUNDS, ROUNDS, arguments, main
from speed.models import MODELS
from speed.systems import SYSTEMS


def test_without_arguments_the_run_is_whole() -> None:
    asked = arguments([])
    assert asked.whole
    assert asked.growth
    assert asked.models == list(MODELS)
    assert asked.systems == list(SYSTEMS)
    assert (asked.batches, asked.rounds) == (list(BATCHES), ROUNDS)


def test_quick() -> None:
    asked = arguments(["--quick"])
    assert not asked.whole
    assert not asked.growth
    assert (asked.models, asked.batches, asked.rounds) == (list(QUICK_MODELS), [1], QUICK_ROUNDS)
    assert arguments(["--quick", "--rounds", "2"]).rounds == 2


@pytest.mark.parametrize(
    "given",
    [["--models", "resnet18"], ["--systems", "float"], ["--batches", "1"], ["--rounds", "15"], ["--quick", "--growth"]],
)
def test_a_part_is_not_whole(given: list[str]) -> None:
    assert not arguments(given).whole


def test_what_all_are_compared_with_is_always_there() -> None:
    assert arguments(["--systems", "openvino", "float"]).systems == ["float", "fxq-x86", "openvino"]


@pytest.mark.parametrize(
    "given", [["--models", "alexnet"], ["--systems", "tvm"], ["--rounds", "0"], ["--batches", "x"]]
)
def test_what_is_unknown_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(given)
    assert given[1] in capsys.readouterr().err


@pytest.fixture
def latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is measured, and the committed results are elsewhere."""
    file = tmp_path / "latest.json"
    monkeypatch.setattr(cli, "LATEST", file)
    monkeypatch.setattr(cli, "write", lambda found: (tmp_path / "page").write_text(found["machine"]["cpu"]))

    def run(asked: Namespace) -> dict[str, Any]:
        return results()

    monkeypatch.setattr(cli, "run", run)
    return file


def test_a_whole_run_replaces_the_results_and_the_page(latest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert json.loads(latest.read_text()) == results()
    assert (latest.parent / "page").read_text() == "A CPU"
    out = capsys.readouterr().out
    assert "batch 1\n" in out
    assert "batch 16\n" in out
    assert "| ResNet-18 | 2.00 |" in out


def test_a_part_is_printed_only(latest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick"])
    assert not list(latest.parent.iterdir())
    assert "| ResNet-18 | 2.00 |" in capsys.readouterr().out


def test_the_page_can_be_written_again(latest: Path) -> None:
    latest.write_text(json.dumps(results()))
    main(["--page"])
    assert (latest.parent / "page").read_text() == "A CPU"
