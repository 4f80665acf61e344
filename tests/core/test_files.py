"""Files that may be anything are read, and are replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import fxq_core as fxq
from fxq_core import files


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "no.toml", tmp_path / "binary.toml"
    binary.write_bytes(b"\xff")
    for path, text in (
        (missing, f"FileNotFoundError: [Errno 2] No such file or directory: {str(missing)!r}"),
        (binary, "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ):
        with pytest.raises(fxq.ConfigError) as caught:
            files.read(path, "config file")
        assert str(caught.value) == f"config file {str(path)!r} can't be read ({text})"


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.toml"
    files.write(path, "old", "config file")

    def refuse(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(fxq.ConfigError) as caught:
            files.write(path, "new", "config file")
    assert str(caught.value) == f"config file {str(path)!r} can't be written (OSError: the disk is full)"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_and_the_file_has_the_usual_mode(tmp_path: Path) -> None:
    path, link, usual = tmp_path / "c.toml", tmp_path / "link.toml", tmp_path / "usual"
    path.write_text("old")
    link.symlink_to(path)
    usual.touch()
    files.write(link, "new", "config file")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    for path, text in (("no\0file", "ValueError: "), (str(tmp_path / "no" / "c.toml"), "FileNotFoundError: ")):
        with pytest.raises(fxq.ConfigError) as caught:
            files.write(path, "text", "config file")
        assert str(caught.value).startswith(f"config file {path!r} can't be written ({text}")
