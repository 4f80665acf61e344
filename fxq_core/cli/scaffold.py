"""A new distribution from the templates: every file in memory first, then on disk, and nothing overwritten."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from types import MappingProxyType
from typing import Any

import importlib_metadata
from packaging.utils import canonicalize_name
from packaging.version import Version

from fxq_core.discovery import CORE
from fxq_core.engines import torchs_distributions
from fxq_core.errors import FxqError
from fxq_core.registry import Registry

TEMPLATES = Path(__file__).parent / "templates"
# what each kind of distribution is, as its metadata says
KINDS = MappingProxyType(
    {
        "pattern": "Softplus in int8, for every fxq engine that runs torch's quantized ops",
        "engine": "An engine for fxq, in plain torch ops",
        "observer": "An observer for fxq: the full range, with a reserve at both ends",
    }
)
PREFIX, SUFFIX = "fxq-", ".template"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class ScaffoldError(FxqError):
    """A distribution can't be written under this name, or to this place."""


def named(kind: str, name: str, registry: Registry) -> str:
    """The distribution's name: normalized, and with the prefix that fxq's distributions share.

    Raises:
        ScaffoldError: it is no name, or one that is taken.
    """
    short = canonicalize_name(name).removeprefix(PREFIX)
    if not name.isascii() or not NAME.fullmatch(short):
        raise ScaffoldError(
            f"{name!r} is no name for a distribution; use letters, digits and hyphens, with a letter first"
        )
    dist = PREFIX + short
    module = module_of(dist)
    if found := util.find_spec(module):
        where = found.origin or "a folder"
        raise ScaffoldError(f"there is a module {module} already, in {where}; choose another name, or uninstall it")
    # engines and observers are called like their distribution, a pattern like its op
    tables: dict[str, Mapping[str, Any]] = {"engine": registry.engines, "observer": registry.observers}
    if kind in tables and short in tables[kind]:
        provider = tables[kind][short].provider
        raise ScaffoldError(f"{provider} has an {kind} {short!r} already; choose another name")
    return dist


def module_of(dist: str) -> str:
    return dist.replace("-", "_")


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write files into a folder that is empty or does not exist.

    Raises:
        ScaffoldError: the folder holds something, or is none, or can't be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "is not empty" if folder.is_dir() else "is a file"
            raise ScaffoldError(f"{folder} {what}, and nothing is overwritten; choose another with --directory")
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ScaffoldError(f"can't write to {folder}: {error.strerror}; choose another with --directory") from error


def render(kind: str, dist: str, api_version: str) -> dict[str, str]:
    """The text of every file of a distribution, by its path.

    Args:
        kind: one of ``KINDS``, which is also the folder of templates that is added to the common one.
        dist: the distribution's name.
        api_version: the version of the plugin interface that it will state.
    """
    core = importlib_metadata.metadata(CORE)
    oldest_python = core["Requires-Python"].removeprefix(">=")
    short, module = dist.removeprefix(PREFIX), module_of(dist)
    engines = torchs_distributions()
    # a pattern is lowered for torch's engines and tested with them; engines and observers bring what their tests take
    testing = [f"{CORE}[testing]", *(engines if kind == "pattern" else [])]
    values = {
        "dist": dist,
        "module": module,
        "name": short,
        "description": KINDS[kind],
        "class": "".join(part.capitalize() for part in short.split("-")),
        "core_range": core_range(core["Version"]),
        "api_range": f">={api_version},<{Version(api_version).major + 1}",
        "oldest_python": oldest_python,
        "ruff_target": f"py{oldest_python.replace('.', '')}",
        "test_requirements": ", ".join(f'"{requirement}"' for requirement in testing),
        "engine_distributions": "\n    engines: ".join(engines),
    }
    rendered = {}
    for folder in (TEMPLATES / "common", TEMPLATES / kind):
        for template in folder.rglob(f"*{SUFFIX}"):
            path = template.relative_to(folder).as_posix().removesuffix(SUFFIX).replace("__module__", module)
            rendered[path] = string.Template(template.read_text(encoding="utf-8")).substitute(values)
    return dict(sorted(rendered.items()))


def core_range(version: str) -> str:
    """The versions of the core that a distribution written for this one can expect to work with."""
    this = Version(version)
    lowest = f"{this.major}.{this.minor}" if not this.is_prerelease else this.public
    highest = f"{this.major + 1}" if this.major else f"0.{this.minor + 1}"
    return f">={lowest},<{highest}"
