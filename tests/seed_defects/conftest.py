"""One registry for all tests of the seed's defects, and the native engines for those that need one."""

from __future__ import annotations

import pytest
import torch

import fxq_core as fxq

from support.engines import NAMED, usable_engines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", NAMED or usable_engines())


@pytest.fixture(scope="session")
def registry() -> fxq.Registry:
    return fxq.load_plugins()


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)
