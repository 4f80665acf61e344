"""``python -m fxq_core`` is ``fxq``."""

from __future__ import annotations

from fxq_core.cli import main

if __name__ == "__main__":
    main()
