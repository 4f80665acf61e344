"""Pages of Markdown whose code runs and whose output is what is printed.

Untitled ``python`` blocks run in the order of their page, in one namespace. A ``text`` block right after one is all
that it prints, with its warnings, and ends with the error where it raises one. A block with a title is a file: it is
written, not run. ``console`` blocks hold commands and what they print. A line ``...`` of output stands for any lines.
``sh`` blocks, with what only a reader can do, and ``toml`` blocks without a title are not run.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from support.processes import WITHOUT_NUMPY

FENCE = re.compile(
    r'^(?P<ticks>`{3,4})(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^(?P=ticks)\n'
    r"\n*(?=(?P<shows>```text\n)?)",
    re.MULTILINE | re.DOTALL,
)
LANGUAGES = {"python", "text", "console", "sh", "toml", "markdown"}


class Block(NamedTuple):
    """A fenced block: ``shows`` says whether a ``text`` block comes right after it."""

    language: str
    title: str
    code: str
    shows: bool


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text += "\n"
    found = [Block(m["language"], m["title"] or "", m["code"], m["shows"] is not None) for m in FENCE.finditer(text)]
    if "```" in FENCE.sub("", text):
        raise ValueError("a fence is indented, unclosed or has options other than a title")
    if unknown := {block.language for block in found} - LANGUAGES:
        raise ValueError(f"blocks are in {sorted(unknown)}; the languages are {sorted(LANGUAGES)}")
    return found


def files(text: str) -> dict[str, str]:
    """The files of a page, by their paths."""
    return {block.title: block.code for block in blocks(text) if block.title}


def write(path: Path, code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)


def run(page: str, text: str, scope: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a page in the current folder, and compare what it prints with what it shows; returns its namespace."""
    scope = {"__name__": page} if scope is None else scope
    found = blocks(text)
    for number, block in enumerate(found):
        if block.title:
            write(Path(block.title), block.code)
        elif block.language == "python":
            printed = _python(page, block, scope)
            if block.shows:
                _compare(page, block.code, found[number + 1].code, printed)
        elif block.language == "console":
            _console(page, block.code)
    return scope


def message(error: BaseException) -> str:
    """The last line of an error's traceback."""
    return f"{type(error).__module__}.{type(error).__name__}: {error}"


def _python(page: str, block: Block, scope: dict[str, Any]) -> str:
    # so that a message can quote the line it stands in
    linecache.cache[page] = (len(block.code), None, block.code.splitlines(True), page)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        if block.shows:
            warnings.simplefilter("always")
            warnings.showwarning = lambda text, category, *_: print(f"{category.__name__}: {text}")
        try:
            exec(compile(block.code, page, "exec"), scope)
        except Exception as error:
            if not block.shows:
                raise
            print(message(error))
    return printed.getvalue()


def _console(page: str, code: str) -> None:
    """Run the commands of a block; one that fails must be followed by ``echo $?``."""
    failed, status = "", 0
    for step in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        if command == "echo $?":
            _compare(page, command, shown, str(status))
            failed = ""
            continue
        assert not failed, failed
        status, printed = _execute(command)
        if shown:
            _compare(page, command, shown, printed)
        failed = f"{page}: {command} exited with {status}\n{printed}" if status else ""
    assert not failed, failed


def _execute(command: str) -> tuple[int, str]:
    words = shlex.split(command)
    variables = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    program = sys.executable if words[0] == "python" else shutil.which(words[0])
    assert program is not None, f"{words[0]} is not installed"
    result = subprocess.run(
        [program, *words[1:]],
        env={**os.environ, "PYTHONWARNINGS": WITHOUT_NUMPY, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout


def _compare(page: str, what: str, shown: str, printed: str) -> None:
    """Compare output, in which a line ``...`` stands for any lines."""
    pattern = "".join(r"(?:.*\n)*" if line == "..." else re.escape(line) + "\n" for line in shown.splitlines())
    told = f"{page}: after\n{what}\nit shows\n{shown}\nnot\n{printed}"
    assert re.fullmatch(pattern, printed.rstrip("\n") + "\n"), told
