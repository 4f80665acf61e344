"""docs/coverage.md is what the gallery's networks give; only the last digits of SQNR may differ between machines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fxq_core as fxq

from gallery import GALLERY
from support.coverage import measure, row
from support.engines import usable_engines

PAGE = (Path(__file__).parents[2] / "docs" / "coverage.md").read_text()
ROWS = dict(re.findall(r"^\| (\w+ \| \w+) \| (\d.*) \|$", PAGE, re.MULTILINE))
# dB: a float op that adds in another order on another CPU moves single values by a code
CLOSE = 0.5


@pytest.mark.parametrize("network", GALLERY)
def test_a_line_says_what_comes_of_a_network(network: str, engine: str, registry: fxq.Registry) -> None:
    written, ratio = ROWS[f"{network} | {engine}"].rsplit(" | ", 1)
    found, measured = row(network, engine, measure(network, engine, registry)).strip("| ").rsplit(" | ", 1)
    assert found == f"{network} | {engine} | {written}"
    assert abs(float(measured) - float(ratio)) <= CLOSE


def test_there_is_a_line_for_every_network_and_engine() -> None:
    assert set(ROWS) == {f"{network} | {engine}" for network in GALLERY for engine in usable_engines()}
