"""Who is to blame when an observer fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fxq_core.errors import FxqError, PluginError, one_line
from fxq_core.types import ObserverSpec


@contextlib.contextmanager
def guarded(observer: ObserverSpec, where: str) -> Iterator[None]:
    """Attribute what fails inside to the plugin that brings an observer.

    Raises:
        PluginError: an error that fxq knows nothing of; its own pass.
    """
    try:
        yield
    except FxqError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{observer.provider}: observer {observer.name!r} failed at {where} with {one_line(error)}; "
            "take another with Config(rules=(Rule(...),)) until the plugin is mended"
        ) from error
