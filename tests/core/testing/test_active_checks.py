"""A context of an engine that leaves something changed, or can't be entered as contexts can, is caught."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from support.engine_suites import failure, suite_of
from support.plain import PLAIN


@contextlib.contextmanager
def leaving_threads() -> Iterator[None]:
    torch.set_num_threads(torch.get_num_threads() + 1)
    yield


@contextlib.contextmanager
def unless_it_fails() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Counted:
    """Puts the random state back only where it was entered first."""

    depth = 0

    def __enter__(self) -> None:
        type(self).depth += 1
        if self.depth > 1:
            torch.manual_seed(5)

    def __exit__(self, *_: object) -> None:
        type(self).depth -= 1


@contextlib.contextmanager
def swallowing() -> Iterator[None]:
    with contextlib.suppress(Exception):
        yield


LEFT = {
    "the number of threads changed after active()": leaving_threads,
    "the random state changed after active() inside active()": Counted,
    "the default dtype changed after an exception inside active()": unless_it_fails,
}


@pytest.mark.parametrize("text", LEFT)
def test_a_context_that_leaves_something_changed(text: str) -> None:
    suite = suite_of(replace(PLAIN, active=LEFT[text]))
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    try:
        assert failure("test_leaves_the_process_as_it_was", suite) == f"engine 'plain' leaves {text}"
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        torch.set_rng_state(random)


def test_a_context_that_swallows_exceptions_or_is_local() -> None:
    assert failure("test_leaves_the_process_as_it_was", suite_of(replace(PLAIN, active=swallowing))) == (
        "active() of engine 'plain' swallows exceptions"
    )
    text = failure(
        "test_leaves_the_process_as_it_was", suite_of(replace(PLAIN, active=lambda: contextlib.nullcontext()))
    )
    assert text.startswith("active of engine 'plain' can't be pickled (")
    assert text.endswith("); make it a function or class of a module, or a functools.partial of one")


class Lock:
    """A context that no second thread can enter, nor the same one twice."""

    lock = threading.Lock()

    def __enter__(self) -> None:
        if not self.lock.acquire(timeout=0.1):
            raise RuntimeError("it is entered already")

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_a_context_that_can_be_entered_only_once() -> None:
    assert failure("test_leaves_the_process_as_it_was", suite_of(replace(PLAIN, active=Lock))) == (
        "active() of engine 'plain' can't be entered inside itself: RuntimeError: it is entered already"
    )
