"""What every Python that a test starts is told."""

from __future__ import annotations

# without numpy, which fxq does not need, torch says so when it is imported
WITHOUT_NUMPY = "ignore:Failed to initialize NumPy:UserWarning"
