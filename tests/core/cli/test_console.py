"""Tables are whole in a pipe and fitted in a terminal; warnings of fxq are lines, others stay what they are."""

from __future__ import annotations

import io
import re
import sys
import warnings

import pytest

import fxq_core
from fxq_core.cli import console

LONG = "a reason that is much longer than a terminal is wide, with [brackets] in it, so that it must be folded there"
FULL = console.rows(("node", "module", "verdict", "reason"), [("a_b", "a.b", "float", LONG), ("c", "", "int8", "")])
NARROW = console.rows(("node", "reason"), [("a_b", LONG), ("c", "")])
PLAIN = f"""\
node  module  verdict  reason
----  ------  -------  {"-" * len(LONG)}
a_b   a.b     float    {LONG}
c             int8
"""


def terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())


def printed() -> str:
    assert isinstance(sys.stdout, io.StringIO)
    return sys.stdout.getvalue()


def plain(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub("\x1b\\[[0-9;]*m", "", text).splitlines()]


def test_a_pipe_gets_whole_cells_and_no_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    console.table(FULL, {"float": "yellow"}, NARROW)
    assert capsys.readouterr().out == PLAIN


def test_a_terminal_folds_the_last_column(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(80, monkeypatch)
    console.table(FULL)
    assert plain(printed()) == [
        "node  module  verdict  reason",
        "─" * 80,
        "a_b   a.b     float    a reason that is much longer than a terminal is wide,",
        "                       with [brackets] in it, so that it must be folded there",
        "c             int8",
    ]


def test_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(80, monkeypatch)
    console.table(FULL, {"float": "yellow"})
    assert "\x1b[33mfloat  \x1b[0m" in printed()


def test_a_terminal_without_room_gets_the_narrow_form(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(46, monkeypatch)
    console.table(FULL, narrow=NARROW)
    assert plain(printed()) == [
        "node  reason",
        "─" * 46,
        "a_b   a reason that is much longer than a",
        "      terminal is wide, with [brackets] in it,",
        "      so that it must be folded there",
        "c",
    ]


def test_one_with_room_gets_the_full_form(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(53, monkeypatch)
    console.table(FULL, narrow=NARROW)
    assert plain(printed())[0] == "node  module  verdict  reason"


def test_in_a_very_small_terminal_every_column_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(24, monkeypatch)
    console.table(FULL)
    text = "".join(plain(printed()))
    assert all(len(line) <= 24 for line in plain(printed()))
    assert "…" not in text


@pytest.mark.parametrize("how", ["error", "ignore"])
def test_warnings_of_fxq_are_one_line_each_whatever_python_is_told(
    how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(how)  # type: ignore[arg-type]
        with console.warnings_as_lines():
            for category in (fxq_core.PluginWarning, fxq_core.EngineWarning, fxq_core.NothingQuantizedWarning):
                for _ in range(2):
                    warnings.warn(category("it says so"), stacklevel=1)
    assert capsys.readouterr() == ("", "warning: it says so\n" * 6)


def test_other_warnings_stay_what_they_are() -> None:
    with pytest.warns(RuntimeWarning) as caught, console.warnings_as_lines():
        warnings.warn("somebody else's", RuntimeWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["somebody else's"]
