"""The page on engines quotes the engine of the examples."""

from __future__ import annotations

from pathlib import Path

from support import pages

ROOT = Path(__file__).parents[2]


def test_what_it_quotes_stands_in_the_example() -> None:
    quotes = [block for block in pages.blocks((ROOT / "docs" / "engines.md").read_text()) if block.title]
    assert len(quotes) == 7
    for block in quotes:
        assert block.code in (ROOT / block.title).read_text(), block.title
