"""Who is to blame when an observer fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from fxq_core.errors import blamed
from fxq_core.types import ObserverSpec


def guarded(observer: ObserverSpec, where: Callable[[], str]) -> AbstractContextManager[None]:
    """Attribute what fails inside to the plugin that brings an observer; ``where`` says where, if it fails."""
    return blamed(
        lambda: f"{observer.provider}: observer {observer.name!r} failed at {where()}",
        "take another with Config(rules=(Rule(...),))",
    )
