"""docs/performance.md."""

from __future__ import annotations

from typing import Any


def write(results: dict[str, Any]) -> None:
    """The page and its charts."""
