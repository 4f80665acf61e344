"""Compatibility: whether a plugin and this core are made for each other, and which of them to upgrade if not."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fxq_core.discovery import CORE, GIVEN, Found
from fxq_core.errors import PluginError
from fxq_core.hookspecs import API_VERSION
from fxq_core.types import Provider


def check_api(plugin: Any, provider: Provider) -> str:
    """The core API range that a plugin states as ``FXQ_API``, itself or in its module; ``""`` if it states none.

    Raises:
        PluginError: it is no range of versions, or this core's is not in it.
    """
    module = sys.modules.get(getattr(plugin, "__module__", ""))
    stated = getattr(plugin, "FXQ_API", getattr(module, "FXQ_API", ""))
    try:
        wanted = SpecifierSet(stated) if isinstance(stated, str) else None
    except InvalidSpecifier:
        wanted = None
    if wanted is None:
        raise PluginError(f"its FXQ_API is {stated!r}, but must be a range of versions such as '>=1,<2'")
    if not wanted.contains(API_VERSION, prereleases=True):
        older = provider.dist if provider.entry_point != GIVEN else None
        way = _upgrade(wanted, API_VERSION, older)
        raise PluginError(f"it is made for the core API {stated}, but {CORE} has {API_VERSION}; {way}")
    return str(stated)


def unmet(found: Found) -> str:
    """What to add to the error of a plugin whose distribution asks for another release of the core; mostly nothing."""
    requirements = (found.distribution.requires if found.distribution is not None else None) or ()
    # what is written in some distribution's metadata is no reason to fail, least of all while telling of a failure
    with contextlib.suppress(InvalidRequirement, InvalidVersion, importlib_metadata.PackageNotFoundError):
        for requirement in map(Requirement, requirements):
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            version = importlib_metadata.version(CORE)
            met = requirement.specifier.contains(version, prereleases=True)
            if needed and canonicalize_name(requirement.name) == CORE and not met:
                way = _upgrade(requirement.specifier, version, found.provider.dist)
                return f"; it requires {CORE}{requirement.specifier}, but {version} is installed; {way}"
    return ""


def _upgrade(wanted: SpecifierSet, version: str, plugin: str | None) -> str:
    """The command that upgrades the older of the two: the core if anything newer than it is asked for."""
    have = Version(version)
    for spec in wanted:
        if spec.operator in (">=", ">", "==", "~="):
            bound = Version(spec.version.removesuffix(".*"))
            if bound > have or (bound == have and spec.operator == ">"):
                return f"pip install --upgrade {CORE}"
    return f"pip install --upgrade {plugin}" if plugin else "give one that is made for it"
