"""The suite for an observer: the laws that let calibration be split, saved and resumed, shown with hypothesis."""

from __future__ import annotations

import copy
import io
import math
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

import fxq_core as fxq
from fxq_core.errors import CalibrationError
from fxq_core.observers import NonFiniteError, Observer
from fxq_core.testing.strategies import tensors

Stream = list[torch.Tensor]
STREAMS = st.lists(tensors(), max_size=4)
NAN, INF = float("nan"), float("inf")
# a check is one function for all suites, which is what the health check warns of
law = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


class ObserverSuite:
    """Checks an observer: what it keeps is its own affair, what it promises is not.

    Attributes:
        observer: its name; it must be installed, or come with ``plugins``.
        spec: what it is built with.
        order_insensitive: it claims that the order of the tensors does not matter.
        tolerance: how far states may be apart that should be equal, as a share of the largest number observed;
            0 for an observer that computes exactly.
        covers: the share of all values that its range claims to hold, None without a claim.
        plugins: plugin objects that are not installed, added to the installed ones.
    """

    observer: ClassVar[str] = ""
    spec: ClassVar[fxq.QSpec] = fxq.QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer="")
    order_insensitive: ClassVar[bool] = False
    tolerance: ClassVar[float] = 0.0
    covers: ClassVar[float | None] = None
    plugins: ClassVar[tuple[Any, ...]] = ()

    @classmethod
    def registry(cls) -> fxq.Registry:
        """The plugins to test with: the installed ones and ``plugins``; a plugin that fails to load is an error."""
        return fxq.load_plugins(plugins=cls.plugins, strict=True)

    _build: ClassVar[Any]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Load the plugins once: a law would do it for each of its examples if that fails."""
        type(self)._spec()

    @classmethod
    def _spec(cls) -> Any:
        if "_build" not in vars(cls):
            observers = cls.registry().observers
            if cls.observer not in observers:
                raise AssertionError(
                    f"no installed plugin provides observer {cls.observer!r}, which {cls.__name__} tests; pip install "
                    f"the distribution first (loaded: {', '.join(sorted(observers))})"
                )
            cls._build = observers[cls.observer]
        return cls._build

    def observed(self, *streams: Stream) -> Observer:
        """A fresh observer that saw these streams."""
        observer: Observer = self._spec().build(self.spec)
        for stream in streams:
            for value in stream:
                observer.observe(value)
        return observer

    def same(self, one: Observer, other: Observer, what: str, *streams: Stream) -> None:
        """Fail unless two observers, which saw these streams in whatever way, are in the same state."""
        who = f"observer {type(self).observer!r}"
        ours, theirs = one.state_dict(), other.state_dict()
        if ours.keys() != theirs.keys():
            raise AssertionError(f"{who}: {what} gives another state: {sorted(ours.keys() ^ theirs.keys())}")
        values = [float(value.abs().max()) for stream in streams for value in stream if value.numel()]
        allowed = type(self).tolerance * max(values, default=0.0)
        for name in ours:
            first, second = torch.as_tensor(ours[name]), torch.as_tensor(theirs[name])
            if first.shape != second.shape or not bool(((first - second).abs() <= allowed).all()):
                raise AssertionError(f"{who}: {what} gives {name} = {ours[name]}, not {theirs[name]}")

    # The laws.

    @law
    @given(a=STREAMS, b=STREAMS)
    def test_merging_equals_one_pass(self, a: Stream, b: Stream) -> None:
        self.same(_merged(self.observed(a), self.observed(b)), self.observed(a, b), "merging two streams", a, b)

    @law
    @given(a=STREAMS, b=STREAMS, c=STREAMS)
    def test_merging_is_associative(self, a: Stream, b: Stream, c: Stream) -> None:
        one, two, three = (self.observed(stream) for stream in (a, b, c))
        grouped = _merged(_merged(one, two), three), _merged(one, _merged(two, three))
        self.same(*grouped, "merging the first two of three streams first", a, b, c)

    @law
    @given(stream=STREAMS, data=st.data())
    def test_order_does_not_matter_where_it_claims_so(self, stream: Stream, data: st.DataObject) -> None:
        if not type(self).order_insensitive:
            pytest.skip("it makes no claim")
        shuffled = data.draw(st.permutations(stream))
        self.same(self.observed(shuffled), self.observed(stream), "another order of its tensors", stream)
        cut = data.draw(st.integers(0, len(stream)))
        one, other = self.observed(stream[:cut]), self.observed(stream[cut:])
        self.same(_merged(other, one), _merged(one, other), "merging two streams in the other order", stream)

    @law
    @given(a=STREAMS, b=STREAMS)
    def test_states_make_round_trips(self, a: Stream, b: Stream) -> None:
        """Through a file that is loaded with ``weights_only=True``, into an observer that saw something else."""
        original, twin, file = self.observed(a), self.observed(b), io.BytesIO()
        torch.save(original.state_dict(), file)
        file.seek(0)
        twin.load_state_dict(torch.load(file, weights_only=True))
        self.same(twin, original, "a state that is saved and loaded", a)
        for value in b:
            original.observe(value)
            twin.observe(value)
        self.same(twin, original, "observing on after a state is loaded", a, b)
        if original.count and (mine := tuple(original.qparams())) != (loaded := tuple(twin.qparams())):
            raise AssertionError(f"observer {type(self).observer!r}: a loaded state gives qparams {loaded}, not {mine}")

    @law
    @given(a=STREAMS, b=STREAMS)
    def test_a_state_is_a_snapshot(self, a: Stream, b: Stream) -> None:
        """What is observed or merged later changes no state that was taken, nor the observer that was merged."""
        observer, other = self.observed(a), self.observed(b)
        taken = [(observer.state_dict(), copy.deepcopy(observer.state_dict()), "its own state")]
        taken += [(other.state_dict(), copy.deepcopy(other.state_dict()), "the state of what is merged")]
        observer.merge(other)
        for value in (*b, *a):
            observer.observe(value)
        for state, kept, what in taken:
            for name in kept:
                if not torch.equal(torch.as_tensor(state[name]), torch.as_tensor(kept[name])):
                    raise AssertionError(
                        f"observer {type(self).observer!r} writes into {what}: {name} was {kept[name]}"
                    )

    @law
    @given(a=STREAMS)
    def test_empty_tensors_are_ignored(self, a: Stream) -> None:
        empty = torch.zeros(0), torch.zeros(3, 0, 2)
        padded = [value for pair in zip(a, [*empty] * len(a), strict=False) for value in pair]
        self.same(self.observed([*empty, *padded]), self.observed(a), "an empty tensor in the stream", a)
        with pytest.raises(CalibrationError):
            self.observed([*empty]).qparams()

    @law
    @given(value=tensors())
    def test_any_layout_and_dtype_is_taken(self, value: torch.Tensor) -> None:
        """The numbers count, and not how a tensor holds them."""
        expected, spread = self.observed([value]), torch.stack([value, -value], -1)[..., 0]
        others = {"float64": value.double(), "strides": spread, "another shape": value[None]}
        for what, other in {**others, "requires_grad": value.clone().requires_grad_()}.items():
            self.same(self.observed([other]), expected, f"a tensor with {what}", [value])

    @law
    @given(a=STREAMS, value=tensors(elements=st.sampled_from([0.0, 1.0, NAN, INF, -INF])))
    def test_what_is_not_finite_is_refused(self, a: Stream, value: torch.Tensor) -> None:
        """With a ``NonFiniteError``, and nothing of the state changes."""
        observer = self.observed(a)
        if bool(value.isfinite().all()):
            value = torch.cat([value, torch.tensor([NAN])])
        try:
            observer.observe(value)
        except NonFiniteError:
            self.same(observer, self.observed(a), "a tensor that was refused", a)
        else:
            raise AssertionError(f"observer {type(self).observer!r} takes {value.tolist()}, which is not finite")

    @law
    @given(a=STREAMS, last=tensors(shape=(3,)))
    def test_qparams_are_usable(self, a: Stream, last: torch.Tensor) -> None:
        """The scale is finite and positive, 0 has a code, and the codes are those of the spec."""
        cls, found = type(self), self.observed(a, [last]).qparams()
        who = f"observer {cls.observer!r}"
        scale, zero_point = torch.as_tensor(found.scale), torch.as_tensor(found.zero_point)
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise AssertionError(f"{who} gives scale {found.scale}")
        if not bool(((zero_point >= cls.spec.qmin) & (zero_point <= cls.spec.qmax)).all()):
            raise AssertionError(f"{who} gives zero point {found.zero_point}, so that 0 has no code")
        if zero_point.is_floating_point() or (cls.spec.symmetric and bool(zero_point.any())):
            raise AssertionError(f"{who} gives zero point {found.zero_point} for {cls.spec}")
        if (found.qmin, found.qmax) != (cls.spec.qmin, cls.spec.qmax):
            raise AssertionError(f"{who} gives codes {found.qmin} to {found.qmax} for {cls.spec}")

    @law
    @given(a=STREAMS, last=tensors(shape=(3,)))
    def test_the_range_covers_what_it_claims(self, a: Stream, last: torch.Tensor) -> None:
        cls = type(self)
        if cls.covers is None:
            pytest.skip("it makes no claim")
        values = torch.cat([value.flatten() for value in (*a, last)]).double()
        scale, zero_point = (float(number) for number in self.observed(a, [last]).qparams())
        # a code stands for what is up to half a step away, and a little more where float32 rounds
        ends = [(code - zero_point) * scale for code in (cls.spec.qmin - 0.501, cls.spec.qmax + 0.501)]
        outside = int(((values < ends[0]) | (values > ends[1])).sum())
        if outside > math.ceil((1 - cls.covers) * len(values) - 1e-9):
            raise AssertionError(
                f"observer {cls.observer!r} claims to cover {cls.covers:.4%} and leaves {outside} of {len(values)} "
                f"values out of {ends[0]:.6g} to {ends[1]:.6g}"
            )


def _merged(first: Observer, second: Observer) -> Observer:
    result = copy.deepcopy(first)
    result.merge(second)
    return result
