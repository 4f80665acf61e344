"""The page on the conformance kit names every check of every suite."""

from __future__ import annotations

import re
from pathlib import Path

from fxq_core.testing import EngineSuite, LoweringSuite, ObserverSuite

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()


def test_its_tables_are_the_checks_of_the_suites() -> None:
    tables = [re.findall(r"^\| `(test_\w+)` \|", part, re.MULTILINE) for part in PAGE.split("\n## ")]
    own = {
        suite: [name for name in vars(suite) if name.startswith("test_")]
        for suite in (LoweringSuite, EngineSuite, ObserverSuite)
    }
    assert [table for table in tables if table] == list(own.values())
