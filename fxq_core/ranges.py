"""Output qparams that an op prescribes, whatever the data: the ranges of its mathematics in 256 codes."""

from __future__ import annotations

from fxq_core.types import QParams

UNIT = QParams(1 / 256, 0, 0, 255)
SYMMETRIC_UNIT = QParams(2 / 256, 128, 0, 255)

FIXED: dict[str, QParams] = {"sigmoid": UNIT, "hardsigmoid": UNIT, "tanh": SYMMETRIC_UNIT}
