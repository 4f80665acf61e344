"""Control: which of the installed plugins are imported, and which of them must be."""

from __future__ import annotations

import os
from collections.abc import Iterable

from packaging.utils import canonicalize_name

from fxq_core.discovery import Failure, Found, LeftOut, names
from fxq_core.errors import PluginError, PluginWarning, near_miss, warn
from fxq_core.types import Provider

DISABLE, ALLOW = "FXQ_DISABLE_PLUGINS", "FXQ_PLUGINS"
# why a plugin is left out, and what to do to have it
REMEDIES = {
    "block= names it": "take it out of block=",
    f"{DISABLE} is set": f"unset {DISABLE}",
    f"{ALLOW} does not name it": f"add it to {ALLOW}, or unset that",
}
BLOCKED, DISABLED, NOT_ALLOWED = REMEDIES


def canonical(given: Iterable[str], argument: str) -> dict[str, str]:
    """The names that an argument or a variable gives, as written, by their canonical form."""
    if isinstance(given, str):
        raise TypeError(f"{argument} takes a tuple of names, not {given!r}; write {argument}=({given!r},)")
    listed = list(given)
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"{argument} takes names of distributions or entry points, not {name!r}")
    return {canonicalize_name(name): name for name in listed}


def choose(found: Iterable[Found], block: Iterable[str]) -> tuple[list[Found], list[LeftOut]]:
    """Part the installed plugins into those to import and those to leave out."""
    installed = list(found)
    blocked = canonical(block, "block")
    disabled = _disabled()
    allowed = canonical(filter(None, map(str.strip, os.environ.get(ALLOW, "").split(","))), ALLOW)
    kept, left_out = [], []
    for one in installed:
        called = names(one.provider)
        if called & blocked.keys():
            left_out.append(LeftOut(one.provider, BLOCKED))
        elif disabled:
            left_out.append(LeftOut(one.provider, DISABLED))
        elif allowed and not called & allowed.keys():
            left_out.append(LeftOut(one.provider, NOT_ALLOWED))
        else:
            kept.append(one)
    if not disabled:
        _warn_of_unknown(allowed, installed)
    return kept, left_out


def _disabled() -> bool:
    value = os.environ.get(DISABLE, "").strip()
    if value not in ("", "0", "1"):
        raise PluginError(f"{DISABLE} is {value!r}; set it to 1 to import no installed plugin, or unset it")
    return value == "1"


def _warn_of_unknown(allowed: dict[str, str], installed: list[Found]) -> None:
    known = sorted({name for one in installed for name in names(one.provider)})
    for name, written in allowed.items():
        if name not in known:
            warn(PluginWarning(f"{ALLOW} names {written!r}, which is not installed; {_hint(name, known)}"))


def _hint(name: str, known: list[str]) -> str:
    return near_miss(name, known, f"pip install {name}")


def check_required(
    wanted: dict[str, str], loaded: Iterable[Provider], failures: Iterable[Failure], left_out: Iterable[LeftOut]
) -> None:
    """See that all plugins that ``wanted`` names were loaded, each one of those that a distribution has.

    Raises:
        PluginError: one failed, was left out or is not installed, and what to do about it.
    """
    known: set[str] = set()
    for failure in failures:
        known |= names(failure.provider)
        for name in sorted(names(failure.provider) & wanted.keys()):
            dist = failure.provider.dist
            text = f"{failure.provider} failed to load: {failure.error}; mend or reinstall {dist}"
            raise PluginError(f"plugin {wanted[name]!r} is required, but {text}")
    for out in left_out:
        known |= names(out.provider)
        for name in sorted(names(out.provider) & wanted.keys()):
            text = f"{out.provider} is left out: {out.reason}; {REMEDIES[out.reason]}"
            raise PluginError(f"plugin {wanted[name]!r} is required, but {text}")
    for provider in loaded:
        known |= names(provider)
    for name, written in wanted.items():
        if name not in known:
            raise PluginError(f"plugin {written!r} is required, but not installed; {_hint(name, sorted(known))}")
