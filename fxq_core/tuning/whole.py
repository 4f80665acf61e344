"""The whole model in float, where no step's alternatives make int8 the faster one."""

from __future__ import annotations

from torch import nn

from fxq_core.capture.calls import Arguments
from fxq_core.lowering import Calibration, lower
from fxq_core.matching import Refusal
from fxq_core.plan import Plan, all_float
from fxq_core.prepare import PreparedModel
from fxq_core.tuning.cache import TuneCache
from fxq_core.tuning.race import race
from fxq_core.tuning.timing import Clock
from fxq_core.tuning.tune import tune_with

FLOAT_IS_FASTER = Refusal("the whole model is faster in float on this machine", "tuning")


def tuned(
    lowered: nn.Module, plan: Plan, prepared: PreparedModel, qparams: Calibration, example: Arguments, clock: Clock
) -> nn.Module:
    """A lowered model with the fastest way for each step, or all of it in float if that is faster still."""
    tune_with(lowered, example, TuneCache(), clock)
    floats = lower(all_float(plan, FLOAT_IS_FASTER), prepared, qparams)
    times = race((lowered, floats), example, clock)
    return lowered if times[0] <= times[1] else floats
