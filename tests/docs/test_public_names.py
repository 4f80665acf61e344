"""What the documentation imports is public: a reader who copies from it builds on nothing that may change."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import pages

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SURFACE = (ROOT / "tests" / "core" / "public_surface.txt").read_text()


def public() -> dict[str, set[str]]:
    """The public names of each public module."""
    modules: dict[str, set[str]] = {}
    for part in SURFACE.split("\n# ")[1:]:
        module, _, lines = part.partition("\n")
        modules[module] = set(re.findall(r"^(?:class |def )?(\w+)(?=[(:])", lines, re.MULTILINE))
    return modules


def imported(code: str) -> Iterator[tuple[str, str]]:
    """The modules of fxq-core that a piece of code imports from, each with a name, or with "" for itself."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, alias.name) for alias in node.names if node.module.startswith("fxq_core"))
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("fxq_core"))


def private(text: str) -> list[tuple[str, str]]:
    names = public()
    code = [block.code for block in pages.blocks(text) if block.language == "python"]
    found = [(module, name) for piece in code for module, name in imported(piece)]
    return [(m, n) for m, n in found if m not in names or (n and n not in names[m] and f"{m}.{n}" not in names)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_imports_public_names_only(page: Path) -> None:
    assert private(page.read_text()) == []


def test_a_private_name_is_found() -> None:
    code = "from fxq_core import Pattern, tables\nimport fxq_core.mincut\nfrom fxq_core.hookspecs import fxq_engines\n"
    assert private(f"```python\n{code}```\n") == [("fxq_core", "tables"), ("fxq_core.mincut", "")]


def test_the_page_on_compatibility_lists_the_public_modules() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text()
    listed = re.findall(r"`(fxq_core[\w.]*)`", "".join(re.findall(r"^\| (`fxq_core.*?) \|", page, re.MULTILINE)))
    assert sorted(listed) == sorted(public())
