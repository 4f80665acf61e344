"""Run ``fxq`` in this process, and read the tables that it prints to a pipe."""

from __future__ import annotations

import re

from click.testing import CliRunner, Result

from fxq_core.cli.app import app


def fxq(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def fails(result: Result, code: int = 1) -> str:
    """What a command that failed says, which is all on stderr."""
    assert (result.exit_code, result.stdout) == (code, "")
    return result.stderr


def table(text: str) -> list[dict[str, str]]:
    """The first table in a text: a dict for each row, by the titles of the columns."""
    lines = text.splitlines()
    rule = next(n for n, line in enumerate(lines) if re.fullmatch("-+(  -+)+", line))
    spans = [match.span() for match in re.finditer("-+", lines[rule])]
    # the last column is ragged
    spans[-1] = (spans[-1][0], None)  # type: ignore[assignment]
    titles = [lines[rule - 1][slice(*span)].strip() for span in spans]
    rows = []
    for line in lines[rule + 1 :]:
        if not line:
            break
        rows.append(dict(zip(titles, (line[slice(*span)].strip() for span in spans), strict=True)))
    return rows
