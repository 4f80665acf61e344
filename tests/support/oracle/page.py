"""The tables of docs/exactness.md: what each engine promises of each op."""

from __future__ import annotations

from support.oracle.exceptions import ABSENT, ENGINES, EXCEPTIONS, ops

EXACT = "exact"
# what stands around the tables in the page
BEGIN, END = "<!-- generated: python tests/docs/test_exactness.py -->\n", "<!-- end -->\n"


def filled(text: str) -> str:
    """The page with the tables as they must be."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{reasons()}\n{END}{rest.partition(END)[2]}"


def table() -> str:
    """One row for all ops that have the same cells."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for op in ops():
        rows.setdefault(tuple(_cell(op, engine) for engine in ENGINES), []).append(f"`{op}`")
    lines = [_line(("op", *ENGINES)), _line(("---",) * (1 + len(ENGINES)))]
    return "".join([*lines, *(_line((", ".join(names), *cells)) for cells, names in rows.items())])


def reasons() -> str:
    """What the letters in the table stand for."""
    return "".join(f"- {letter}: {reason}.\n" for reason, letter in _letters().items())


def _letters() -> dict[str, str]:
    return {reason: chr(ord("a") + n) for n, reason in enumerate(dict.fromkeys(EXCEPTIONS.values()))}


def _cell(op: str, engine: str) -> str:
    if (op, engine) in ABSENT:
        return ABSENT[op, engine]
    reason = EXCEPTIONS.get((op, engine))
    return EXACT if reason is None else f"1 LSB: {_letters()[reason]}"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |\n"
