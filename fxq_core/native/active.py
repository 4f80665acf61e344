"""Enter one of torch's engines, and leave it as it was."""

from __future__ import annotations

import torch


def advertised() -> set[str]:
    """The engines that this build of torch says it has; that is no proof that they work."""
    return set(torch.backends.quantized.supported_engines) - {"none"}


class Active:
    """A context in which torch's engine is ``name``; sets the global only if it differs, and takes no lock.

    The global can't be made per thread. Weights are bound to their engine when they are packed, so if other code
    changes it in the middle of a forward, additions and pooling round as the other engine does: at most one LSB.
    """

    __slots__ = ("_name", "_previous")

    def __init__(self, name: str) -> None:
        self._name = name
        self._previous = name

    def __enter__(self) -> None:
        self._previous = torch.backends.quantized.engine
        if self._previous != self._name:
            torch.backends.quantized.engine = self._name

    def __exit__(self, *_: object) -> None:
        if self._previous != self._name:
            torch.backends.quantized.engine = self._previous
