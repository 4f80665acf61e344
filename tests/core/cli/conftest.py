"""Commands see the core and the distributions that a test makes, and modules that it writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import importlib_metadata
import pytest

from support.distributions import INSTALLED


@pytest.fixture(autouse=True)
def only_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed is not to be found: the commands take no argument that blocks it."""
    found = importlib_metadata.distributions

    def others() -> Iterator[importlib_metadata.Distribution]:
        return (distribution for distribution in found() if distribution.name not in INSTALLED)

    monkeypatch.setattr(importlib_metadata, "distributions", others)
    for name in ("FXQ_DISABLE_PLUGINS", "FXQ_PLUGINS"):
        monkeypatch.delenv(name, raising=False)


NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.act, self.last = nn.Linear(6, 8), nn.CELU(), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.act(self.layer(x)))
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write a module into the current directory, which a test then has for its own."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    written: list[str] = []

    def nets(source: str = "", name: str = "nets") -> None:
        written.append(name)
        path = here.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(NETS + source)

    yield nets
    for name in written:
        for module in (name, name.partition(".")[0]):
            sys.modules.pop(module, None)
