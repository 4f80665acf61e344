"""Enter one of torch's engines, and leave it as it was."""

from __future__ import annotations

import threading

import torch


class _Switch:
    """Who may change torch's engine, which is one global for all threads: one thread at a time.

    ``changes`` counts how often the global was put away and put back, so it is odd in between. What was read while
    ``changes`` was even and stayed as it was is nobody's passing choice.
    """

    __slots__ = ("changes", "depth", "lock")

    def __init__(self) -> None:
        # a thread may enter several engines, one in the other
        self.lock = threading.RLock()
        self.changes = self.depth = 0

    def settled(self, name: str) -> bool:
        """Whether torch's engine is ``name``, and not for another thread's sake only; takes no lock."""
        before = self.changes
        found = torch.backends.quantized.engine
        return found == name and before % 2 == 0 and before == self.changes


_SWITCH = _Switch()


class Active:
    """A context in which torch's engine is ``name``.

    Where it is already, as when all models of a process use one engine, entering costs one read and takes no lock.
    Otherwise the global is changed under a lock until the context is left, so that threads always put back what they
    found, and none runs on what another is about to put back: threads that run a model of another engine than torch's
    take turns. Weights are bound to their engine when they are packed; so if a model of another engine, or foreign
    code, changes the global in the middle of a forward that found it right, additions and pooling round as the other
    engine does: one code at most.
    """

    __slots__ = ("_name", "_previous")

    def __init__(self, name: str) -> None:
        self._name = name
        self._previous: str | None = None

    def __enter__(self) -> None:
        if _SWITCH.settled(self._name):
            return
        _SWITCH.lock.acquire()
        previous = torch.backends.quantized.engine
        try:
            if _SWITCH.depth == 0:
                _SWITCH.changes += 1
            _SWITCH.depth += 1
            torch.backends.quantized.engine = self._name
        except BaseException:
            self._leave()
            raise
        self._previous = previous

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            torch.backends.quantized.engine = self._previous
            self._previous = None
            self._leave()

    def _leave(self) -> None:
        _SWITCH.depth -= 1
        if _SWITCH.depth == 0:
            _SWITCH.changes += 1
        _SWITCH.lock.release()
