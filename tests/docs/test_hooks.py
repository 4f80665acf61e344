"""The hook reference: a hook or a field that is added without a word about it fails here."""

from __future__ import annotations

import dataclasses
import html
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fxq_core as fxq
from fxq_core import hookspecs

from support import pages

ROOT = Path(__file__).parents[2]
TABLES = (ROOT / "README.md", ROOT / "docs" / "hooks.md")
RECORDS = (fxq.Engine, fxq.Pattern, fxq.ObserverSpec, fxq.Lowering, fxq.QSpec, fxq.QParams, fxq.Match)
# filled in by discovery; and the marker for what follows is keyword-only
NOT_FOR_AUTHORS = {"provider", "_"}


def text_of(page: Path) -> str:
    """What a reader sees of a built page, with every run of blanks as one."""
    markup = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())


def undocumented(specs: Any, reference: str, tables: list[str]) -> list[str]:
    """What readers don't learn about the hooks of a module: signatures, sentences, plugins, lines of tables."""
    problems = []
    for name, hook in vars(specs).items():
        if not hasattr(hook, f"{hookspecs.PROJECT}_spec"):
            continue
        doc = inspect.getdoc(hook) or ""
        examples = [block.code for block in pages.blocks(doc)]
        told = [f"{name}{inspect.signature(hook)}".replace("'", ""), *doc.partition("```")[0].split("\n\n"), *examples]
        problems += [f"{name}: {words!r} is missing" for words in told if " ".join(words.split()) not in reference]
        problems += [] if doc and examples else [f"{name}: its docstring holds no plugin"]
        problems += [f"{name}: no line in table {n}" for n, table in enumerate(tables) if f"`{name}`" not in table]
    return problems


def rows(page: Path) -> str:
    return "\n".join(line for line in page.read_text().splitlines() if line.startswith("|"))


def test_every_hook_is_in_the_reference_and_in_the_tables(site: Path) -> None:
    assert undocumented(hookspecs, text_of(site / "hooks" / "index.html"), list(map(rows, TABLES))) == []


def new_hook(doc: str | None) -> SimpleNamespace:
    def fxq_scales() -> None:
        return None

    fxq_scales.__doc__ = doc
    return SimpleNamespace(fxq_scales=hookspecs.hookspec(fxq_scales), helper=len)


def test_a_new_hook_that_nobody_wrote_about_is_found(site: Path) -> None:
    reference = text_of(site / "hooks" / "index.html")
    assert undocumented(new_hook(None), reference, list(map(rows, TABLES))) == [
        "fxq_scales: 'fxq_scales() -> None' is missing",
        "fxq_scales: its docstring holds no plugin",
        "fxq_scales: no line in table 0",
        "fxq_scales: no line in table 1",
    ]
    told = "Offer scales.\n\n```python\nyield 1\n```\n"
    assert undocumented(new_hook(told), reference, ["| `fxq_scales` |"]) == [
        "fxq_scales: 'fxq_scales() -> None' is missing",
        "fxq_scales: 'Offer scales.' is missing",
        "fxq_scales: 'yield 1\\n' is missing",
    ]
    assert undocumented(new_hook(told), "fxq_scales() -> None Offer scales. yield 1", ["| `fxq_scales` |"]) == []


@pytest.mark.parametrize("record", [*RECORDS, fxq.LoweringContext], ids=lambda record: record.__name__)
def test_every_field_of_a_record_is_described_and_on_the_page(record: Callable[..., Any], site: Path) -> None:
    doc = inspect.getdoc(record) or ""
    names = {field.name for field in dataclasses.fields(record)} - NOT_FOR_AUTHORS  # type: ignore[arg-type]
    assert {name for name in names if not re.search(rf"(^ *|``){name}\b", doc, re.MULTILINE)} == set()
    reference = text_of(site / "hooks" / "index.html")
    sentence = doc.partition(".")[0].replace("``", "")
    assert " ".join(sentence.split()) in reference
