"""The benchmark is no package that is installed: its folder is found last, so that none of its names hides another."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[3] / "benchmarks"):
    sys.path.append(str(folder))
