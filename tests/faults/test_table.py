"""The table in docs/faults.md names every test of every fault, and no other: ``python tests/faults/test_table.py``."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "faults.md"
CODES = [f"{kind}{n}" for kind, last in (("E", 15), ("C", 14), ("G", 14)) for n in range(1, last + 1)]
ROW = re.compile(r"^\| ([ECG]\d+) \| ([^|]+?) \|([^|]*)\|$", re.MULTILINE)


def by_code() -> dict[str, list[str]]:
    """The names of the tests of each code, in the order of files and lines."""
    found: dict[str, list[str]] = {code: [] for code in CODES}
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for code in re.findall(r"(?<=_)[ECG]\d+(?=_)", node.name):
                    found[code].append(node.name)
    return found


def filled(text: str) -> str:
    """The page with the names of the tests that there are."""
    names = by_code()

    def row(match: re.Match[str]) -> str:
        cells = ", ".join(f"`{name}`" for name in names[match[1]])
        return f"| {match[1]} | {match[2]} | {cells} |"

    return ROW.sub(row, text)


def test_every_fault_has_a_row_and_a_test() -> None:
    text = PAGE.read_text()
    assert [match[1] for match in ROW.finditer(text)] == CODES
    assert [code for code, names in by_code().items() if not names] == []


def test_the_table_names_the_tests_that_there_are() -> None:
    text = PAGE.read_text()
    assert text == filled(text), "python tests/faults/test_table.py writes it anew"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
    print(f"wrote {PAGE}", file=sys.stderr)
