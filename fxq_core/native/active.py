"""Enter one of torch's engines, and leave it as it was."""

from __future__ import annotations

import os
import threading

import torch


class _Switch:
    """Who may change torch's engine, which is one global for all threads: one thread at a time.

    ``changes`` counts how often the global was put away and put back, so it is odd in between. What was read while
    ``changes`` was even and stayed as it was is nobody's passing choice.
    """

    __slots__ = ("changes", "depth", "found", "lock", "owner")

    def __init__(self) -> None:
        # a thread may enter several engines, one in the other
        self.lock = threading.RLock()
        self.changes = self.depth = 0
        self.owner: int | None = None
        self.found: str | None = None

    def enter(self) -> None:
        """Begin to change torch's engine; waits for other threads that do."""
        self.lock.acquire()
        if self.depth == 0:
            self.owner, self.found = threading.get_ident(), torch.backends.quantized.engine
            self.changes += 1
        self.depth += 1

    def leave(self) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.owner = self.found = None
            self.changes += 1
        self.lock.release()

    def renew(self) -> None:
        """In a forked process: no other thread of the parent's is here to put back and to release what it holds."""
        self.lock = threading.RLock()
        if self.owner == threading.get_ident():
            for _ in range(self.depth):
                self.lock.acquire()
            return
        if self.found is not None:
            torch.backends.quantized.engine = self.found
        self.owner = self.found = None
        self.depth = 0
        self.changes += self.changes % 2

    def settled(self, name: str) -> bool:
        """Whether torch's engine is ``name``, and not for another thread's sake only; takes no lock."""
        before = self.changes
        found = torch.backends.quantized.engine
        return found == name and before % 2 == 0 and before == self.changes


_SWITCH = _Switch()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SWITCH.renew)


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
        _SWITCH.enter()
        try:
            previous = torch.backends.quantized.engine
            torch.backends.quantized.engine = self._name
        except BaseException:
            _SWITCH.leave()
            raise
        self._previous = previous

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            torch.backends.quantized.engine = self._previous
            self._previous = None
            _SWITCH.leave()
