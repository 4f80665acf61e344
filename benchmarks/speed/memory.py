"""What a process holds, from Linux's /proc; in bytes."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

PROC = Path("/proc/self")


def resident() -> int:
    """What is in memory now."""
    return _status("VmRSS")


def settle() -> int:
    """The same, after all that is free has gone back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


def forget_peak() -> None:
    """Let the peak start anew (proc(5), clear_refs)."""
    (PROC / "clear_refs").write_text("5")


def peak() -> int:
    """The most that was in memory at once since ``forget_peak``."""
    return _status("VmHWM")


def _status(field: str) -> int:
    for line in (PROC / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise LookupError(f"/proc/self/status has no line {field}")
