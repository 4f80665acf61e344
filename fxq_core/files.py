"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


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
