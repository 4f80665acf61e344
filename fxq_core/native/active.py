"""Enter one of torch's engines, and leave it as it was."""

from __future__ import annotations

import os
import threading
import time

import torch

# a forward that is not over by then waits for another thread itself, perhaps for this one
PATIENCE = 10.0
GLANCE = 5e-5


class _Switch:
    """Who may change torch's engine, one global for all threads: one thread at a time, while none relies on it.

    ``readers`` counts by thread the contexts that found torch's engine right and rely on it. ``changes`` counts how
    often the global was put away and put back, so it is odd in between; whoever sees it odd does not begin to rely.
    """

    __slots__ = ("changes", "depth", "found", "lock", "owner", "readers")

    def __init__(self) -> None:
        # a thread may enter several engines, one in the other
        self.lock = threading.RLock()
        self.changes = self.depth = 0
        self.owner: int | None = None
        self.found: str | None = None
        self.readers: dict[int, int] = {}

    def relies(self, name: str) -> int | None:
        """Rely on torch's engine, if it is ``name`` and nobody's passing choice; takes no lock.

        Returns:
            None if so, otherwise how often this thread relied on it already, which it no longer does.
        """
        me = threading.get_ident()
        before = self.readers.get(me, 0)
        self.readers[me] = before + 1
        # in this order, so that either a switch sees the reader or the reader sees the switch
        if self.changes % 2 == 0 and torch.backends.quantized.engine == name:
            return None
        del self.readers[me]
        return before

    def relied(self, count: int) -> None:
        """Rely on torch's engine that often, in this thread."""
        me = threading.get_ident()
        if count:
            self.readers[me] = count
        else:
            self.readers.pop(me, None)

    def enter(self) -> None:
        """Begin to change torch's engine; waits for other threads that do, and for those that rely on it."""
        self.lock.acquire()
        if self.depth == 0:
            self.owner, self.found = threading.get_ident(), torch.backends.quantized.engine
            self.changes += 1
        self.depth += 1
        if self.depth == 1:
            try:
                end = time.monotonic() + PATIENCE
                while self.readers and time.monotonic() < end:
                    time.sleep(GLANCE)
            except BaseException:
                self.leave()
                raise

    def leave(self) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.owner = self.found = None
            self.changes += 1
        self.lock.release()

    def renew(self) -> None:
        """In a forked process: no other thread of the parent's is here to put back and to release what it holds."""
        me = threading.get_ident()
        self.readers = {me: self.readers[me]} if me in self.readers else {}
        self.lock = threading.RLock()
        if self.owner == me:
            for _ in range(self.depth):
                self.lock.acquire()
            return
        if self.found is not None:
            torch.backends.quantized.engine = self.found
        self.owner = self.found = None
        self.depth = 0
        self.changes += self.changes % 2


_SWITCH = _Switch()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SWITCH.renew)


class Active:
    """A context in which torch's engine is ``name``.

    Where it is already, as when all models of a process use one engine, entering takes no lock. Otherwise the global is
    changed under a lock until the context is left, once no thread relies on it: threads always put back what they
    found, none runs on what another is about to put back, and models of several engines compute in one process what
    they do alone. Weights are bound to their engine when they are packed; so if foreign code changes the global in the
    middle of a forward, additions and pooling round as the other engine does: one code at most. The same may happen
    to a forward that waits for a thread which waits to change the engine, for 10 seconds.
    """

    __slots__ = ("_name", "_previous", "_relied")

    def __init__(self, name: str) -> None:
        self._name = name
        self._previous: str | None = None
        self._relied = 0

    def __enter__(self) -> None:
        relied = _SWITCH.relies(self._name)
        if relied is None:
            return
        try:
            _SWITCH.enter()
        except BaseException:
            _SWITCH.relied(relied)
            raise
        try:
            previous = torch.backends.quantized.engine
            torch.backends.quantized.engine = self._name
        except BaseException:
            _SWITCH.relied(relied)
            _SWITCH.leave()
            raise
        self._previous, self._relied = previous, relied

    def __exit__(self, *_: object) -> None:
        if self._previous is None:
            _SWITCH.relied(_SWITCH.readers[threading.get_ident()] - 1)
            return
        torch.backends.quantized.engine = self._previous
        self._previous = None
        _SWITCH.relied(self._relied)
        _SWITCH.leave()
