"""Compatibility: whether a plugin and this core are made for each other, and which of them to upgrade if not."""

from __future__ import annotations

from typing import Any

from fxq_core.discovery import Found
from fxq_core.types import Provider


def check_api(plugin: Any, provider: Provider) -> str:
    return str(getattr(plugin, "FXQ_API", ""))


def unmet(found: Found) -> str:
    return ""
