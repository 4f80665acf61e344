"""What is checked of an engine with the oracle."""

from __future__ import annotations

from collections.abc import Iterator

import torch

import fxq_core as fxq

from support.oracle.call import Call
from support.oracle.exceptions import ABSENT, EXCEPTIONS
from support.oracle.expected import expected, halfway
from support.oracle.samples import SAMPLES
from support.oracle.subjects import UNITS, calls_of

# a batch in which what happens to one element of a hundred thousand is seen soon, and that fills no whole number of
# vectors; and how often to look
WIDE, SEARCHES = 201, 12


def check_codes(engine: str, name: str, registry: fxq.Registry) -> None:
    """Every op of a sample gives the oracle's codes; an exception may be one off, where the result lies halfway.

    Raises:
        AssertionError: one does not, or the sample's own op was not compared.
    """
    op, compared = SAMPLES[name].pattern.removesuffix("_clamp"), set()
    whole = UNITS[1 + list(SAMPLES).index(name) % 2]
    for unit in (None, whole):
        for call in calls_of(SAMPLES[name], engine, registry, 0, unit):
            compared.add(call.name)
            if message := wrong(call):
                raise AssertionError(f"{call.name} on engine {engine!r}, unit {unit}: {message}")
    assert (op in compared) is ((op, engine) not in ABSENT), f"compared were {sorted(compared)}"


def wrong(call: Call) -> str | None:
    """In what an op differs from the oracle."""
    wanted = expected(call)
    if wanted.shape != call.found.shape:
        return f"shape {list(call.found.shape)}, not {list(wanted.shape)}"
    off = (call.found - wanted).abs()
    allowed = halfway(call).long() if (call.name, call.engine) in EXCEPTIONS else torch.zeros_like(off)
    beyond = off > allowed
    if not beyond.any():
        return None
    at = tuple(beyond.nonzero()[0].tolist())
    return (
        f"{int(call.found[at])}, not {int(wanted[at])}, at {list(at)} of {list(off.shape)}; "
        f"wrong: {int(beyond.sum())} of {off.numel()}"
    )


def departs(op: str, engine: str, registry: fxq.Registry) -> bool:
    """Whether an op of an engine was ever seen to differ from the oracle."""
    return any(not torch.equal(expected(call), call.found) for call in _many(op, engine, registry))


def _many(op: str, engine: str, registry: fxq.Registry) -> Iterator[Call]:
    samples = [sample for sample in SAMPLES.values() if sample.pattern.removesuffix("_clamp") == op]
    for seed in range(SEARCHES):
        for sample in samples:
            for unit in UNITS:
                calls = calls_of(sample, engine, registry, seed, unit, WIDE)
                yield from (call for call in calls if call.name == op)
