"""What is installed must not matter here: installed plugins are hidden, and fake distributions built on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import fxq_core as fxq

from support.distributions import Dists, load
from support.placement import Counted


@pytest.fixture
def dists(tmp_path: Path) -> Iterator[Dists]:
    made = Dists(tmp_path)
    yield made
    made.forget()


@pytest.fixture
def install(dists: Dists, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a distribution and put it first on sys.path."""

    def install(name: str, source: str, **how: Any) -> None:
        monkeypatch.syspath_prepend(dists.make(name, source, **how))

    return install


@pytest.fixture(scope="session")
def core() -> fxq.Registry:
    """The core alone."""
    return load()


@pytest.fixture(scope="session")
def counted() -> fxq.Registry:
    """The core, and an engine whose conversions can be counted."""
    return load(plugins=(Counted(),))


@pytest.fixture(autouse=True)
def torch_is_left_as_it_was() -> Iterator[None]:
    engine = torch.backends.quantized.engine
    yield
    assert torch.backends.quantized.engine == engine


@pytest.fixture
def torch_is_set_to_the_first() -> Iterator[None]:
    """torch is set to ``FIRST``, and still is afterwards, whatever was chosen or refused."""
    # a build of torch without any engine fails here, not in every test
    from support.choosing import FIRST

    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = FIRST
    yield
    after = torch.backends.quantized.engine
    torch.backends.quantized.engine = before
    assert after == FIRST
