"""What fxq raises and warns of. Every message is one sentence: who, where, and what to do."""

from __future__ import annotations

import contextlib
import difflib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

# what others write goes into a sentence, and must leave one
LONGEST_ERROR, LONGEST_VALUE = 500, 200


def one_line(error: BaseException) -> str:
    """An error's type and the first line of what it says, however little or much that is."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        lines = []
    return _cut(": ".join((type(error).__name__, *lines[:1])), LONGEST_ERROR)


def shown(value: object) -> str:
    """What a plugin gave where something else was wanted, in one line; by its type if it can't be written."""
    try:
        return _cut(" ".join(repr(value).split()), LONGEST_VALUE)
    except Exception:
        return f"a {type(value).__name__}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def any_of(ways: Sequence[str]) -> str:
    """Several ways out as one clause: "a, b, or c"."""
    return ", or ".join(filter(None, (", ".join(ways[:-1]), ways[-1])))


def near_miss(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about an unknown name: the known one that is most like it, or else something else."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise


def warn(warning: Warning) -> None:
    """Warn, pointing at the line that called into fxq."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "fxq_core":
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


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
    """A plugin could not be loaded, or is not installed, or one of its functions failed; all else works without it."""


class EngineWarning(UserWarning):
    """The engine in use is not the one that torch names."""


class NothingQuantizedWarning(UserWarning):
    """The result computes everything in float."""


class FewSamplesWarning(UserWarning):
    """The ranges come from so few samples that others may lie outside of them."""


class AccuracyWarning(UserWarning):
    """The result is far from the float model on data that it was calibrated with."""


@contextlib.contextmanager
def blamed(told: Callable[[], str], way_out: str) -> Iterator[None]:
    """Attribute what fails inside to a plugin.

    Args:
        told: says who failed, at what and where; only called if somebody did.
        way_out: what to do meanwhile.

    Raises:
        PluginError: an error that fxq knows nothing of, or an exit; its own errors pass.
    """
    try:
        yield
    except FxqError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{told()} with {one_line(error)}; {way_out} until the plugin is mended") from error
