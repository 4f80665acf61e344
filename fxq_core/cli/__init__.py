"""The command line ``fxq``, which needs the extra ``cli``; read app.py, console.py, then a file for each command."""

from __future__ import annotations

import sys

NEEDED = ("click", "rich")


def main() -> None:
    """Run ``fxq`` with the arguments of this process, or say in a line how to install what it needs."""
    try:
        from fxq_core.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        sys.exit(f"error: the command line needs {' and '.join(NEEDED)}; pip install 'fxq-core[cli]'")
    app(prog_name="fxq")
