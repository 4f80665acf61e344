"""Post-training quantization for PyTorch on CPUs, with engines and patterns from plugins."""

from __future__ import annotations

from fxq_core.analysis.compare import compare
from fxq_core.analysis.comparison import Comparison
from fxq_core.analysis.sensitivity import Sensitivity, sensitivity
from fxq_core.analysis.trail import Budget
from fxq_core.config import Config, Rule
from fxq_core.context import LoweringContext
from fxq_core.errors import (
    AccuracyWarning,
    CalibrationError,
    CaptureError,
    ConfigError,
    EngineError,
    EngineWarning,
    FewSamplesWarning,
    FxqError,
    InputError,
    NothingQuantizedWarning,
    PluginConflictError,
    PluginError,
    PluginWarning,
)
from fxq_core.hookspecs import API_VERSION, hookimpl
from fxq_core.plan import Plan
from fxq_core.quantize import Quantizer, quantize
from fxq_core.registry import Registry, load_plugins
from fxq_core.report import Report, report
from fxq_core.tuning import Tunable, TuneCache, TunedStep, TuneReport, tune
from fxq_core.types import Engine, Lowering, Match, ObserverSpec, Pattern, Provider, QParams, QSpec

__all__ = [
    "API_VERSION",
    "AccuracyWarning",
    "Budget",
    "CalibrationError",
    "CaptureError",
    "Comparison",
    "Config",
    "ConfigError",
    "Engine",
    "EngineError",
    "EngineWarning",
    "FewSamplesWarning",
    "FxqError",
    "InputError",
    "Lowering",
    "LoweringContext",
    "Match",
    "NothingQuantizedWarning",
    "ObserverSpec",
    "Pattern",
    "Plan",
    "PluginConflictError",
    "PluginError",
    "PluginWarning",
    "Provider",
    "QParams",
    "QSpec",
    "Quantizer",
    "Registry",
    "Report",
    "Rule",
    "Sensitivity",
    "Tunable",
    "TuneCache",
    "TuneReport",
    "TunedStep",
    "compare",
    "hookimpl",
    "load_plugins",
    "quantize",
    "report",
    "sensitivity",
    "tune",
]
