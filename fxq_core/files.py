"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from fxq_core.errors import ConfigError, one_line


def read(path: str | os.PathLike[str], what: str) -> str:
    """The text of a file, with or without a byte order mark; ``what`` it is goes into errors.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what} {os.fspath(path)!r} can't be read ({one_line(error)})") from error


def write(path: str | os.PathLike[str], text: str, what: str) -> None:
    """Put a text file in place as ``replace_file`` does; ``what`` it is goes into errors.

    Raises:
        ConfigError: it can't be written; what was there stays.
    """
    try:
        replace_file(path, text.encode())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what} {os.fspath(path)!r} can't be written ({one_line(error)})") from error


def replace_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Put a file in place in one step, so that nobody ever reads half of one; if it fails, what was there stays.

    Raises:
        OSError, ValueError: the file can't be written, or its name can't be one.
    """
    drafts: list[Path] = []
    try:
        target = Path(os.path.realpath(path))
        draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        with open(draft, "xb") as file:
            drafts.append(draft)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        # still there if anything failed, an interrupt too
        for draft in drafts:
            with contextlib.suppress(OSError):
                draft.unlink()
