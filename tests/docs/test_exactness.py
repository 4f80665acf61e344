"""The tables in docs/exactness.md are those of the exceptions: ``python tests/docs/test_exactness.py`` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "exactness.md"
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))

from support.oracle.exceptions import ABSENT, ENGINES, EXCEPTIONS, ops  # noqa: E402 (found as pytest finds it)
from support.oracle.page import filled  # noqa: E402


def test_the_tables_are_those_of_the_exceptions() -> None:
    text = PAGE.read_text()
    assert text == filled(text), "python tests/docs/test_exactness.py writes them anew"


def test_only_what_there_is_can_be_an_exception() -> None:
    known = {(op, engine) for op in ops() for engine in ENGINES}
    assert {*EXCEPTIONS, *ABSENT} <= known
    assert not {*EXCEPTIONS} & {*ABSENT}


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
    print(f"wrote {PAGE}", file=sys.stderr)
