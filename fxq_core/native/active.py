"""Enter one of torch's engines, and leave it as it was."""

from __future__ import annotations

import threading

import torch

# torch's engine is one global for all threads; a thread may enter several engines, one in the other
_CHANGING = threading.RLock()


def advertised() -> set[str]:
    """The engines that this build of torch says it has; that is no proof that they work."""
    return set(torch.backends.quantized.supported_engines) - {"none"}


class Active:
    """A context in which torch's engine is ``name``.

    Where it is already, as when all models of a process use one engine, entering costs one read and takes no lock.
    Otherwise the global is changed under a lock until the context is left, so that threads always put back what they
    found. Weights are bound to their engine when they are packed; so if another thread changes the global in the
    middle of a forward that found it right, additions and pooling round as the other engine does: one code at most.
    """

    __slots__ = ("_name", "_previous")

    def __init__(self, name: str) -> None:
        self._name = name
        self._previous: str | None = None

    def __enter__(self) -> None:
        if torch.backends.quantized.engine == self._name:
            return
        _CHANGING.acquire()
        try:
            previous = torch.backends.quantized.engine
            torch.backends.quantized.engine = self._name
        except BaseException:
            _CHANGING.release()
            raise
        self._previous = previous

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            torch.backends.quantized.engine = self._previous
            self._previous = None
            _CHANGING.release()
