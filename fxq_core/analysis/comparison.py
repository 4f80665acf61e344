"""How far each node of a quantized model is from float, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from fxq_core import tables

HEADER = ("", "node", "module", "op", "form", "SQNR dB", "cosine", "largest error")


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One node, with all that went wrong up to it.

    Attributes:
        part: the path of the part that it is in, "" where the whole model is one.
        node, module, op, quantized: as in the report.
        sqnr: in dB, of the float value to its difference from the quantized model's.
        cosine: of the angle between the two.
        error: the largest absolute difference.
    """

    part: str
    node: str
    module: str
    op: str
    quantized: bool
    sqnr: float
    cosine: float
    error: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row for each node that both models hold as one float tensor, in graph order.

    Attributes:
        engine: the engine's name.
        threshold: in dB.
    """

    engine: str
    threshold: float
    rows: tuple[ComparisonRow, ...]

    @property
    def first(self) -> ComparisonRow | None:
        """The first row whose SQNR is below the threshold, or None."""
        return next((row for row in self.rows if row.sqnr < self.threshold), None)

    def __str__(self) -> str:
        first = self.first
        found = "no node" if first is None else f"node {first.node!r} is the first"
        title = f"engine {self.engine}: {found} below {self.threshold:g} dB"
        return f"{title}\n{tables.table(HEADER, [_cells(row, row is first) for row in self.rows])}"


def _cells(row: ComparisonRow, marked: bool) -> tuple[object, ...]:
    numbers = f"{row.sqnr:.1f}", f"{row.cosine:.4f}", f"{row.error:.4g}"
    return ">" if marked else "", row.node, row.module, row.op, "int8" if row.quantized else "float", *numbers
