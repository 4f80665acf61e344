"""Without pytest or hypothesis, the kit says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_what_is_missing_is_named(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import fxq_core; import fxq_core.testing"
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert result.stderr.strip().splitlines()[-1] == (
        f"ImportError: fxq_core.testing needs {missing}, which is not installed; pip install 'fxq-core[testing]'"
    )


def test_the_core_does_not_import_it() -> None:
    code = "import sys, fxq_core; sys.exit('fxq_core.testing' in sys.modules or 'hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code]).returncode == 0
