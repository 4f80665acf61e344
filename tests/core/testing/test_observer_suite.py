"""Each law catches the observer that breaks it; none is broken by one that keeps only what it must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import fxq_core as fxq
from fxq_core.observers import MinMaxObserver, MovingAverageObserver, Observer
from fxq_core.testing import ObserverSuite

from support.distributions import load


class Broken(MinMaxObserver):
    """The extremes, got wrong in one way by each subclass."""


class Overwriting(Broken):
    """Merging forgets its own stream."""

    def absorb(self, other: Any) -> None:
        self.low, self.high = other.low, other.high


class Counting(Broken):
    """The range grows with the number of merges."""

    STATE = ("low", "high", "merges")
    merges = 0

    def absorb(self, other: Any) -> None:
        super().absorb(other)
        self.merges = self.merges + 2 * other.merges + 1


class First(Broken):
    """The first tensor decides."""

    def _widen(self, low: torch.Tensor, high: torch.Tensor) -> None:
        if not self.count:
            super()._widen(low, high)


class Forgetting(Broken):
    """Saves half of its state."""

    STATE = ("low",)


class WritingInto(Broken):
    def _widen(self, low: torch.Tensor, high: torch.Tensor) -> None:
        if self.count:
            torch.minimum(self.low, low, out=self.low)
            torch.maximum(self.high, high, out=self.high)
        else:
            super()._widen(low, high)


class TakingEmpty(Broken):
    def observe(self, value: torch.Tensor) -> None:
        super().observe(value if value.numel() else torch.zeros(1))


class TakingAll(Broken):
    def observe(self, value: torch.Tensor) -> None:
        super().observe(value.nan_to_num())


class TakingHalf(Broken):
    """Refuses what is not finite when it has taken the rest of it."""

    def observe(self, value: torch.Tensor) -> None:
        super().observe(value[value.isfinite()])
        if not bool(value.isfinite().all()):
            super().observe(value)


class Doubling(Broken):
    def observe(self, value: torch.Tensor) -> None:
        super().observe(value * 2 if value.dtype is torch.float64 else value)


class NoZero(Broken):
    def qparams(self) -> fxq.QParams:
        found = super().qparams()
        return fxq.QParams(found.scale, found.zero_point + 200, found.qmin, found.qmax)


class Infinite(Broken):
    def qparams(self) -> fxq.QParams:
        found = super().qparams()
        return fxq.QParams(float("inf"), found.zero_point, found.qmin, found.qmax)


class OtherCodes(Broken):
    def qparams(self) -> fxq.QParams:
        return fxq.QParams(*super().qparams(), 0, 127)


class Floating(Broken):
    def qparams(self) -> fxq.QParams:
        found = super().qparams()
        return fxq.QParams(found.scale, float(found.zero_point), found.qmin, found.qmax)


class Narrow(Broken):
    def range(self) -> tuple[Any, Any]:
        return self.low / 2, self.high / 2


class Plugin:
    def __init__(self, kind: Any) -> None:
        self.kind = kind

    @fxq.hookimpl
    def fxq_observers(self) -> Iterator[fxq.ObserverSpec]:
        yield fxq.ObserverSpec("broken", self.kind)


def suite_of(kind: Any, **attributes: Any) -> Any:
    """A suite, not collected by pytest, for one kind of observer, which claims what the sound one may."""
    registry = load(plugins=(Plugin(kind),))
    claims = {"observer": "broken", "order_insensitive": True, "covers": 1.0}
    return type("Suite", (ObserverSuite,), {**claims, "registry": classmethod(lambda cls: registry), **attributes})()


LAWS = sorted(name for name in dir(ObserverSuite) if name.startswith("test_"))


def test_there_are_ten_laws() -> None:
    assert len(LAWS) == 10


def fails(check: str, kind: type[Observer], **attributes: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        getattr(suite_of(kind, **attributes), check)()
    return str(caught.value)


BROKEN: list[tuple[str, Any, str]] = [
    ("test_merging_equals_one_pass", Overwriting, "merging two streams gives "),
    ("test_merging_is_associative", Counting, "merging the first two of three streams first gives merges = "),
    ("test_order_does_not_matter_where_it_claims_so", First, "another order of its tensors gives "),
    ("test_order_does_not_matter_where_it_claims_so", MovingAverageObserver, "another order of its tensors gives "),
    ("test_states_make_round_trips", Forgetting, "a loaded state gives qparams "),
    ("test_a_state_is_a_snapshot", WritingInto, "writes into its own state: "),
    ("test_empty_tensors_are_ignored", TakingEmpty, "an empty tensor in the stream gives count = 2, not 0"),
    ("test_what_is_not_finite_is_refused", TakingAll, "], which is not finite"),
    ("test_what_is_not_finite_is_refused", TakingHalf, "a tensor that was refused gives "),
    ("test_any_layout_and_dtype_is_taken", Doubling, "a tensor with float64 gives "),
    ("test_qparams_are_usable", NoZero, ", so that 0 has no code"),
    ("test_qparams_are_usable", Infinite, "gives scale inf"),
    ("test_qparams_are_usable", OtherCodes, "gives codes 0 to 127 for "),
    ("test_qparams_are_usable", Floating, ".0 for QSpec("),
    ("test_the_range_covers_what_it_claims", Narrow, "claims to cover 100.0000% and leaves "),
]


@pytest.mark.parametrize(("check", "kind", "text"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_the_law_catches_it(check: str, kind: Any, text: str) -> None:
    message = fails(check, kind)
    assert message.startswith("observer 'broken'")
    assert text in message


def test_every_law_catches_one() -> None:
    assert {check for check, _, _ in BROKEN} == set(LAWS)


def test_an_observer_that_is_not_there() -> None:
    assert fails("test_qparams_are_usable", Broken, observer="brocken") == (
        "no installed plugin provides observer 'brocken', which Suite tests; pip install the distribution first "
        "(loaded: broken, entropy, histogram, minmax, moving-average, percentile)"
    )


@pytest.mark.parametrize(
    "law", ["test_order_does_not_matter_where_it_claims_so", "test_the_range_covers_what_it_claims"]
)
def test_what_is_not_claimed_is_not_checked(law: str) -> None:
    with pytest.raises(pytest.skip.Exception) as caught:
        getattr(suite_of(Narrow, order_insensitive=False, covers=None), law)()
    assert str(caught.value) == "it makes no claim"


class TestSymmetric(ObserverSuite):
    """Another spec than the usual one."""

    observer, order_insensitive, covers = "minmax", True, 1.0
    spec = fxq.QSpec(torch.int8, -127, 127, symmetric=True, axis=None, observer="minmax")

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load()
