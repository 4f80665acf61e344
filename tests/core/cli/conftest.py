"""Commands see the core and the distributions that a test makes, and modules that it writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.distributions import Dists


@pytest.fixture(autouse=True)
def only_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQ_DISABLE_PLUGINS", "1")
    monkeypatch.delenv("FXQ_PLUGINS", raising=False)


@pytest.fixture
def install(dists: Dists, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a distribution, put it first on sys.path and allow it; what is really installed is still left out."""
    allowed: list[str] = []

    def install(name: str, source: str, **how: Any) -> None:
        monkeypatch.syspath_prepend(dists.make(name, source, **how))
        allowed.append(name)
        monkeypatch.delenv("FXQ_DISABLE_PLUGINS", raising=False)
        monkeypatch.setenv("FXQ_PLUGINS", ",".join(allowed))

    return install


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
