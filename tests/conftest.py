"""Every test that takes ``engine`` runs on each engine under test, and ``registry`` holds all installed plugins.

The suites of the conformance kit choose their engines themselves.
"""

from __future__ import annotations

import pytest

import fxq_core as fxq

from support.engines import NAMED, usable_engines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames and not hasattr(metafunc.cls, "pytest_generate_tests"):
        metafunc.parametrize("engine", NAMED or usable_engines())


@pytest.fixture(scope="session")
def registry() -> fxq.Registry:
    return fxq.load_plugins(strict=True)
