"""Reading TOML and files that may be anything; files are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import fxq_core as fxq
from fxq_core.config import toml


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("skip = [", "TOMLDecodeError: Invalid value (at end of document)"),
        ("a = " + "[" * 100_000, "RecursionError: "),
    ],
)
def test_what_is_no_toml_is_refused(source: str, text: str) -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        toml.loads(source, "it")
    assert str(caught.value).startswith(f"it is no valid TOML ({text}")
    assert str(caught.value).endswith("); mend or rewrite it")


@given(st.text())
def test_any_text_gives_a_document_or_a_clear_error(source: str) -> None:
    with contextlib.suppress(fxq.ConfigError):
        assert isinstance(toml.loads(source, "it"), dict)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        toml.dumps({}, ["\ud800"], [])
    assert str(caught.value) == "the config holds '\\ud800', half of a surrogate pair, which TOML can't; remove it"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbfskip = ["a"]\r\n')
    assert fxq.Config.load(tmp_path / "c.toml") == fxq.Config(skip=("a",))


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "no.toml", tmp_path / "binary.toml"
    binary.write_bytes(b"\xff")
    for path, text in (
        (missing, f"FileNotFoundError: [Errno 2] No such file or directory: {str(missing)!r}"),
        (binary, "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ):
        with pytest.raises(fxq.ConfigError) as caught:
            toml.read(path)
        assert str(caught.value) == f"config file {str(path)!r} can't be read ({text})"


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.toml"
    toml.write(path, "old")

    def refuse(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(fxq.ConfigError) as caught:
            toml.write(path, "new")
    assert str(caught.value) == f"config file {str(path)!r} can't be written (OSError: the disk is full)"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_and_the_file_has_the_usual_mode(tmp_path: Path) -> None:
    path, link, usual = tmp_path / "c.toml", tmp_path / "link.toml", tmp_path / "usual"
    path.write_text("old")
    link.symlink_to(path)
    usual.touch()
    toml.write(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    for path, text in (("no\0file", "ValueError: "), (str(tmp_path / "no" / "c.toml"), "FileNotFoundError: ")):
        with pytest.raises(fxq.ConfigError) as caught:
            toml.write(path, "text")
        assert str(caught.value).startswith(f"config file {path!r} can't be written ({text}")
