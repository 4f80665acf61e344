"""Distributions that are not really installed, built on disk; and a registry in which the installed ones are hidden."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import importlib_metadata

import fxq_core as fxq

ENTRY_POINTS = tuple(importlib_metadata.entry_points(group="fxq"))
INSTALLED = tuple(sorted({entry_point.dist.name for entry_point in ENTRY_POINTS if entry_point.dist is not None}))
CORE = f"fxq-core {importlib_metadata.version('fxq-core')}"

IMPORTS = """
import dataclasses
from torch import nn
from fxq_core import Engine, Lowering, ObserverSpec, Pattern, hookimpl
from fxq_core.observers import MinMaxObserver
from fxq_core.reference import REFERENCE
"""


def hook(name: str, *statements: str) -> str:
    """The source of a plugin with one hook function; records are yielded by the statements."""
    return f"{IMPORTS}\n@hookimpl\ndef {name}():\n" + "".join(f"    {statement}\n" for statement in statements)


def pattern(name: str) -> str:
    """The source of a plugin with one pattern."""
    return hook("fxq_patterns", f"yield Pattern({name!r}, nn.CELU)")


def load(
    *block: str, plugins: tuple[Any, ...] = (), strict: bool = True, required: tuple[str, ...] = ()
) -> fxq.Registry:
    """The core, ``plugins`` and the fake distributions; of the installed ones no trace, as if they were not."""
    return hide(fxq.load_plugins(plugins=plugins, block=(*INSTALLED, *block), strict=strict, required=required))


def hide(registry: fxq.Registry) -> fxq.Registry:
    """The same registry, without the installed plugins that were left out of it."""
    return dataclasses.replace(
        registry, left_out=tuple(out for out in registry.left_out if out.provider.dist not in INSTALLED)
    )


class Dists:
    """Builds installed distributions: a module and a ``.dist-info`` folder, each in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: list[str] = []
        self.folders: list[Path] = []

    def make(
        self,
        name: str,
        source: str,
        version: str = "1.0",
        module: str | None = None,
        entry_points: str | None = None,
        metadata: bool = True,
        requires: tuple[str, ...] = (),
    ) -> str:
        """Write a distribution whose entry point is the last part of its name; returns what to put on sys.path."""
        normalized = name.replace("-", "_").lower()
        module = module or normalized
        self.modules.append(module)
        folder = self.root / f"{name}-{version}-{len(self.modules)}"
        self.folders.append(folder)
        info = folder / f"{normalized}-{version}.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(source)
        if metadata:
            needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        default = f"[fxq]\n{name.rpartition('-')[2]} = {module}\n"
        (info / "entry_points.txt").write_text(default if entry_points is None else entry_points)
        return str(folder)

    def file(self, module: str) -> Path:
        """The file of a module, in the distribution made last that has it."""
        return next(file for folder in reversed(self.folders) if (file := folder / f"{module}.py").exists())

    def forget(self) -> None:
        for module in self.modules:
            sys.modules.pop(module, None)
