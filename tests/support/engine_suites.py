"""A conformance suite for the plain engine, sound or broken, and what a check of it says."""

from __future__ import annotations

from typing import Any

import pytest

from fxq_core.testing import EngineSuite
from fxq_core.types import Engine

from support.distributions import load
from support.plain import PLAIN, PlainPlugin


def suite_of(engine: Engine = PLAIN, attributes: Any = None, **instead: Any) -> Any:
    """A suite, not collected by pytest, for the plain engine with other lowerings."""
    registry = load(plugins=(PlainPlugin(engine, **instead),))
    given = {"engine": "plain", "registry": classmethod(lambda cls: registry), **(attributes or {})}
    return type("Suite", (EngineSuite,), given)()


def failure(check: str, suite: Any, *arguments: str) -> str:
    with pytest.raises(AssertionError) as caught:
        getattr(suite, check)("plain", *arguments)
    return str(caught.value)
