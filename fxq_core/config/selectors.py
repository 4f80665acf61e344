"""What a setting applies to, and which of two selectors is the more specific."""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Union

from torch import nn

from fxq_core.errors import ConfigError
from fxq_core.types import Match

# higher is more specific; see Rule
Rank = tuple[int, ...]
PATTERN: Rank = (0,)
TYPE: Rank = (1,)
PATH: Rank = (3,)
FUNCTION: Rank = (4,)

# what fnmatch takes for anything but itself
WILDCARD = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")


@dataclass(frozen=True, slots=True)
class TypeName:
    """A module type by its qualified name, which is all that a file can hold of it.

    A selector that is a type becomes one, and then selects that very type. One that was read from a file selects the
    types that have this name in the module that defines them, or in any module that is already imported, such as
    ``torch.nn.Conv2d``; nothing is ever imported for it.
    """

    name: str
    exact: type[nn.Module] | None = field(default=None, compare=False, repr=False)

    def selects(self, module_type: type) -> bool:
        """Whether this is the type; a subclass is not."""
        if self.exact is not None:
            return module_type is self.exact
        # vars() and not getattr(), which may import
        home, _, name = self.name.rpartition(".")
        alias = vars(sys.modules[home]).get(name) if home in sys.modules else None
        return qualified_name(module_type) == self.name or alias is module_type


# a module path, a glob over paths or a pattern's name; a module type; or a predicate on a match
Selector = Union[str, type[nn.Module], TypeName, Callable[[Match], bool]]


def qualified_name(module_type: type) -> str:
    return f"{module_type.__module__}.{module_type.__qualname__}"


def as_selector(given: Any) -> Selector:
    """What the user gave, with a type as its name.

    Raises:
        ConfigError: it selects nothing, whatever the model.
    """
    if isinstance(given, type) and issubclass(given, nn.Module):
        return TypeName(qualified_name(given), given)
    if isinstance(given, (str, TypeName)) or (callable(given) and not isinstance(given, (type, nn.Module))):
        return given
    raise ConfigError(f"{given!r} selects nothing: use a path, a glob, a module type, a pattern name or a callable")


def path_rank(selector: str, path: str) -> Rank | None:
    """How specifically a string selects a module path: as itself, or as what covers it; None if it does not."""
    if selector == path:
        return PATH
    names = path.split(".")
    above = [".".join(names[: depth + 1]) for depth in range(len(names))]
    # a name may hold brackets, and then counts as itself
    literal = selector if selector in above else WILDCARD.sub("", selector)
    if selector in above or any(fnmatch.fnmatchcase(part, selector) for part in above):
        return 2, selector.count(".") + 1, len(literal)
    return None


def text(selector: Any) -> str:
    """A selector as messages quote it."""
    if isinstance(selector, TypeName):
        return selector.name.rpartition(".")[2]
    return repr(selector) if isinstance(selector, str) else getattr(selector, "__name__", repr(selector))
