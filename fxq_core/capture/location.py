"""Where in the user's code something stands, or fails."""

from __future__ import annotations

import os
import traceback
from types import CodeType, FrameType

from torch import fx

# in the meta of each call: the line of the user's code that makes it, as "path:line"
LOCATION = "fxq_location"
# the names under which torch and dataclasses compile what they write
GENERATED = ("<eval_with_key>", "<string>")


def location_of(node: fx.Node) -> str:
    """Where in the user's code a node stands, as "file.py:12" without folders, or "" where nothing says."""
    return os.path.basename(str(node.meta.get(LOCATION, "")))


def why(error: Exception) -> str:
    """What stopped a trace, with the user's file and line."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _is_users(frame)]
    where = "".join(f"{os.path.basename(frame.f_code.co_filename)}:{line}: " for frame, line in frames[-1:])
    text = str(error).splitlines()[0].split(". ")[0].rstrip(".") if str(error) else ""
    return f"it can't be traced: {where}{type(error).__name__}: {text}"


def line_of(frame: FrameType | None, outermost: CodeType) -> str:
    """The innermost line of the user's code from a frame out to the function of ours that runs it all, or ""."""
    while frame is not None and frame.f_code is not outermost:
        if _is_users(frame):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _is_users(frame: FrameType) -> bool:
    """Whether a frame is neither torch's nor ours nor made by either."""
    owner = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return owner not in ("torch", "fxq_core") and not frame.f_code.co_filename.startswith(GENERATED)


def located(reason: str, where: str) -> str:
    """A reason with the line that it is about."""
    return f"{reason} ({where})" if where else reason
