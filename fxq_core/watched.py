"""How a program learns that modules which it calls were changed, without a look at them in each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Changes:
    """How often something was changed that a program may rely on, in all models of the process; it only grows."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


CHANGES = Changes()


def changed() -> None:
    """Have every program look, before its next run, whether all is as it was when it was compiled."""
    CHANGES.count += 1


def _telling(method: Callable[..., Any]) -> Any:
    def tell(self: Watched, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:
            changed()

    return tell


class Watched(dict[str, "nn.Module | None"]):
    """The submodules of a module, in place of the plain dict that torch keeps them in; tells of every change."""

    __setitem__ = _telling(dict.__setitem__)
    __delitem__ = _telling(dict.__delitem__)
    __ior__ = _telling(dict.__ior__)
    clear = _telling(dict.clear)
    pop = _telling(dict.pop)
    popitem = _telling(dict.popitem)
    setdefault = _telling(dict.setdefault)
    update = _telling(dict.update)
