"""What runs the pages' code: right pages pass, and each way to be wrong fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import pages


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def page(*found: str) -> str:
    return "\n\nwords\n\n".join(found) + "\n"


PRINTS = "```python\nx = 1\nprint(x)\nprint('two')\n```\n\n```text\n{}\n```"
RAISES = "```python\nprint('so far')\nint('x')\n```\n\n```text\n{}\n```"
INT = "so far\nbuiltins.ValueError: invalid literal for int() with base 10: 'x'"
WARNS = "```python\nimport warnings\nwarnings.warn('x', UserWarning)\n```\n\n```text\n{}\n```"
CALLS = "```console\n$ python -c \"print(1); print(2)\"\n{}\n$ python -c 'print(3)'\n```"
FAILS = "```console\n$ python -c 'raise SystemExit(3)'\n{}```"
READS = (
    '```text title="a/b.txt"\nhere\n```\n\n'
    "```python\nfrom pathlib import Path\nprint(Path('a/b.txt').read_text())\n```\n\n```text\n{}\n```"
)
SETS = "```console\n$ FXQ_X=one python -c \"import os; print(os.environ['FXQ_X'])\"\n{}\n```"


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        (PRINTS, "1\ntwo", "1\n2"),
        (PRINTS, "1\n...", "...\n3"),
        (PRINTS, "...", "1\ntwo\n3"),
        (RAISES, INT, INT.replace("so far", "")),
        (WARNS, "UserWarning: x", ""),
        (CALLS, "1\n2", "1"),
        (FAILS, "$ echo $?\n3\n", ""),
        (FAILS, "$ echo $?\n3\n", "$ echo $?\n0\n"),
        (READS, "here", "there"),
        (SETS, "one", "two"),
    ],
)
def test_what_is_shown_is_what_is_printed(text: str, right: str, wrong: str) -> None:
    pages.run("page.md", text.format(right))
    with pytest.raises(AssertionError, match=r"^page\.md: "):
        pages.run("page.md", text.format(wrong))


def test_blocks_share_a_namespace_and_an_error_that_is_not_shown_is_raised() -> None:
    assert pages.run("page.md", page("```python\nx = 1\n```", "```python\ny = x + 1\n```"))["y"] == 2
    with pytest.raises(ZeroDivisionError):
        pages.run("page.md", page("```python\nx = 0\n```", "```python\n1 / x\n```", "```text\nelsewhere\n```"))


def test_files_are_written_and_not_run(folder: Path) -> None:
    text = page(
        '```python title="there/module.py"\nraise RuntimeError\n```',
        '````markdown title="README.md"\n```python\n1 / 0\n```\n````',
    )
    pages.run("page.md", text)
    assert pages.files(text) == {
        "there/module.py": "raise RuntimeError\n",
        "README.md": "```python\n1 / 0\n```\n",
    }
    assert (folder / "there" / "module.py").read_text() == "raise RuntimeError\n"


@pytest.mark.parametrize("text", ["  ```python\n  1\n  ```\n", "```python\n1\n", '```python linenums="1"\n1\n```\n'])
def test_a_block_that_would_not_be_run_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a fence is indented, unclosed or has options other than a title$"):
        pages.blocks(text)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^blocks are in \['py'\]; the languages are "):
        pages.blocks("```py\n1\n```\n")
