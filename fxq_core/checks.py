"""Whether a record's fields hold what they must, said where the record is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

NAME, FUNCTION, MAYBE_FUNCTION, NUMBER, FLAG = "a name", "callable", "callable or None", "a whole number", "a bool"
_HOLDS: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        NAME: lambda value: isinstance(value, str) and value == value.strip() != "" and value.isprintable(),
        FUNCTION: callable,
        MAYBE_FUNCTION: lambda value: value is None or callable(value),
        NUMBER: lambda value: isinstance(value, int),
        FLAG: lambda value: isinstance(value, bool),
    }
)


def check(record: Any, **wanted: str | type | tuple[type, ...]) -> None:
    """Raise a TypeError that names the first field of a record that does not hold what is wanted of it."""
    for name, kind in wanted.items():
        value = getattr(record, name)
        if not (_HOLDS[kind](value) if isinstance(kind, str) else isinstance(value, kind)):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            text = " or ".join("None" if k is type(None) else k if isinstance(k, str) else k.__name__ for k in kinds)
            raise TypeError(f"{type(record).__name__}.{name} must be {text}, not {value!r}")
