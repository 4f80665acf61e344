"""The user's settings; read selectors.py, toml.py, records.py, claims.py, seen.py and use.py."""

from __future__ import annotations

from fxq_core.config.records import Config, Rule
from fxq_core.config.selectors import Selector, TypeName
from fxq_core.config.use import ConfigUse, Settled

__all__ = ["Config", "ConfigUse", "Rule", "Selector", "Settled", "TypeName"]
