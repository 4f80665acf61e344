"""The little TOML that a config needs: strings, arrays of them, and tables."""

from __future__ import annotations

import sys
from typing import Any

from fxq_core.errors import ConfigError, one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def loads(source: str, who: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ConfigError: it is none; the message starts with ``who`` and says where.
    """
    try:
        return tomllib.loads(source)
    # arrays can be nested deeper than the parser can follow
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{who} is no valid TOML ({one_line(error)}); mend or rewrite it") from error


def dumps(settings: dict[str, str | bool], skip: list[str | dict[str, str]], rules: list[dict[str, str]]) -> str:
    """A document with settings, an array ``skip`` of strings and tables, and an array of tables ``rules``."""
    blocks = [f"{key} = {_value(value)}\n" for key, value in settings.items()]
    if skip:
        blocks.append("".join(("skip = [\n", *(f"    {_value(entry)},\n" for entry in skip), "]\n")))
    for rule in rules:
        blocks.append("".join(("[[rules]]\n", *(f"{key} = {_value(value)}\n" for key, value in rule.items()))))
    return "\n".join(blocks)


def _value(value: bool | str | dict[str, str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_value(entry)}' for key, entry in value.items())}}}"
    return f'"{"".join(map(_character, value))}"'


def _character(character: str) -> str:
    """A character of a basic string, which holds everything but control characters, quotes and backslashes."""
    if character in '"\\':
        return f"\\{character}"
    if character < " " or character == "\x7f":
        return f"\\u{ord(character):04x}"
    if "\ud800" <= character <= "\udfff":
        raise ConfigError(f"the config holds {character!r}, half of a surrogate pair, which TOML can't; remove it")
    return character
