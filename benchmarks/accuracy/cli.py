"""What is asked for, and what becomes of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from accuracy import page, tables
from accuracy.networks import NETWORKS
from accuracy.run import run


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("accuracy", description=f"A run of all networks writes {page.PAGE.name}.")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"only some of {', '.join(NETWORKS)}")
    asked = parser.parse_args(given).networks
    for name in asked:
        if name not in NETWORKS:
            parser.error(f"there is no network {name!r}; the networks are {', '.join(NETWORKS)}")
    cells = run(asked or list(NETWORKS))
    if asked:
        print(f"\n{tables.sqnr(cells)}\n\n{tables.accuracy(cells)}\n\n{tables.means(cells)}")
    else:
        page.write(cells)
        print(f"\n{page.PAGE.read_text()}")
