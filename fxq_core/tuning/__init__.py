"""Which of several ways computes a step fastest on this machine: measured in place, remembered in a cache."""

from __future__ import annotations

from fxq_core.tuning.alternatives import Tunable
from fxq_core.tuning.cache import TuneCache
from fxq_core.tuning.report import TunedStep, TuneReport
from fxq_core.tuning.tune import tune

__all__ = ["Tunable", "TuneCache", "TuneReport", "TunedStep", "tune"]
