"""``python benchmarks/accuracy``: see ``--help``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# in place of this folder, whose modules are those of a package
sys.path[0:1] = [str(ROOT / folder) for folder in ("benchmarks", "tests", "examples/demo")]

from accuracy.cli import main  # noqa: E402 (in the folders above)

if __name__ == "__main__":
    main()
