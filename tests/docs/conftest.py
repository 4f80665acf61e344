"""The built site, for tests of what readers see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def site() -> Path:
    """Where ``mkdocs build --site-dir`` has put the site; tox builds it and sets the variable."""
    if "FXQ_SITE" not in os.environ:
        pytest.fail("build the documentation with mkdocs and name its folder in FXQ_SITE, as `tox -e docs` does")
    return Path(os.environ["FXQ_SITE"])
