"""The engines under test: those that ``FXQ_ENGINES`` names, which must work, or else all that do."""

from __future__ import annotations

import os

import fxq_core as fxq
from fxq_core.reference import REFERENCE

NAMED = [name for name in os.environ.get("FXQ_ENGINES", "").split(",") if name]


def usable_engines() -> list[str]:
    engines = fxq.load_plugins().engines.values()
    return sorted(e.name for e in engines if e.name != REFERENCE.name and e.reject() is None)
