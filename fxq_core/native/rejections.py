"""What torch's quantized kernels do not take, in sentences."""

from __future__ import annotations

from fxq_core.types import Match


def reject_dimensions(match: Match) -> str | None:
    return None
