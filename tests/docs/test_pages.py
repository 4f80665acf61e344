"""Every page of the documentation: its code runs, and what it shows is what is printed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from support import pages
from support.distributions import Dists

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
LOADS = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b[^>]*rel=[\"']?(?:stylesheet|preconnect|preload)[^>]*href=[\"']?(?:https?:)?//"
    r"|@import|url\([\"']?(?:https?:)?//"
)
# what a page says is installed beside the distributions of this repository, and the source of its module
INSTALLED = {"control.md": ("fxq-acme", "raise ImportError('libacme.so: no such file')\n")}


@pytest.mark.parametrize("page", PAGES)
def test_its_code_runs_and_prints_what_it_shows(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dists = Dists(tmp_path / "installed")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    path = [str(here), *(dists.make(*INSTALLED[page]) for _ in range(page in INSTALLED))]
    for folder in path:
        monkeypatch.syspath_prepend(folder)
    # commands see the same
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (*path, os.environ.get("PYTHONPATH")))))
    before = set(sys.modules)
    try:
        pages.run(page, (DOCS / page).read_text())
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


def test_every_page_is_in_the_navigation() -> None:
    nav = (DOCS.parent / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    assert sorted(re.findall(r"[\w-]+\.md", nav)) == PAGES


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    """Links may lead elsewhere; scripts, styles, fonts and images may not come from there."""
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > len(PAGES)
    assert [str(path) for path in files if LOADS.search(path.read_text())] == []


@pytest.mark.parametrize(
    ("markup", "wrong"),
    [
        ('<script src="https://cdn.example/x.js">', True),
        ("<link rel=stylesheet href=//fonts.example/css>", True),
        ("@font-face{src:url(https://fonts.example/a.woff)}", True),
        ('<a href="https://example.org">', False),
        ('<script src="assets/x.js">', False),
    ],
)
def test_what_is_loaded_is_told_from_what_is_linked(markup: str, wrong: bool) -> None:
    assert (LOADS.search(markup) is not None) == wrong
