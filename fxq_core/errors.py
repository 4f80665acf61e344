"""What fxq raises and warns of. Every message is one sentence: who, where, and what to do."""

from __future__ import annotations


class FxqError(Exception):
    """The base of everything that fxq raises on purpose."""


class PluginError(FxqError):
    """A plugin that was asked for is broken, or one of its functions failed."""


class PluginConflictError(FxqError):
    """Two distributions provide the same thing, and nothing says which to use."""


class EngineError(FxqError):
    """No engine can be chosen, or the chosen one can't run here."""


class CaptureError(FxqError):
    """The model, or its example inputs, can't be taken in."""


class ConfigError(FxqError):
    """A setting is wrong or has no effect."""


class CalibrationError(FxqError):
    """A batch, or the lack of batches, leaves a range unknown."""


class InputError(FxqError, RuntimeError):
    """An input does not fit a lowered layer; a RuntimeError too, as the float layer would raise."""


class PluginWarning(UserWarning):
    """An installed plugin could not be loaded; everything else works without it."""


class EngineWarning(UserWarning):
    """The engine in use is not the one that torch names."""
