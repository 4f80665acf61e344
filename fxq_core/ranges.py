"""What is known of ops whatever the data and the engine: fixed ranges, and which pay only in float."""

from __future__ import annotations

from fxq_core.types import QParams

UNIT = QParams(1 / 256, 0, 0, 255)
SYMMETRIC_UNIT = QParams(2 / 256, 128, 0, 255)

# the ranges of their mathematics in 256 codes
FIXED: dict[str, QParams] = {
    "sigmoid": UNIT,
    "hardsigmoid": UNIT,
    "tanh": SYMMETRIC_UNIT,
}

# ops without integer arithmetic, or whose kernel for codes is slower than the one for floats between two conversions
IN_FLOAT = ("matmul", "softmax", "silu", "gelu", "prelu", "elu", "interpolate")
