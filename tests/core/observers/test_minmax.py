"""The extremes, per tensor or per channel."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fxq_core.observers import MinMaxObserver
from fxq_core.types import QSpec

SPEC = QSpec(torch.int8, -127, 127, symmetric=True, axis=None, observer="minmax")


def test_the_extremes_of_everything_seen() -> None:
    observer = MinMaxObserver(SPEC)
    for values in ([3.0, 4.0], [-0.5], [2.0, 9.0]):
        observer.observe(torch.tensor(values))
    assert [float(end) for end in observer.range()] == [-0.5, 9.0]


def test_one_value_does_not_pull_in_zero() -> None:
    observer = MinMaxObserver(SPEC)
    observer.observe(torch.tensor([5.0]))
    assert [float(end) for end in observer.range()] == [5.0, 5.0]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_one_range_per_channel(axis: int) -> None:
    generator = torch.Generator().manual_seed(0)
    streams = [torch.randn(3, 4, 5, generator=generator) for _ in range(3)]
    observer = MinMaxObserver(replace(SPEC, axis=axis))
    for values in streams:
        observer.observe(values)
    together = torch.stack(streams).movedim(axis if axis < 0 else axis + 1, 0).flatten(1)
    assert torch.equal(observer.low, together.amin(1))
    assert torch.equal(observer.high, together.amax(1))
    scale = observer.qparams().scale
    assert scale.dtype is torch.float32
    assert torch.allclose(scale, together.abs().amax(1) / 127)


def test_channels_of_a_vector_are_its_elements() -> None:
    observer = MinMaxObserver(replace(SPEC, axis=0))
    observer.observe(torch.tensor([1.0, -2.0]))
    assert observer.qparams().scale.tolist() == pytest.approx([1 / 127, 2 / 127])


def test_merging_channels() -> None:
    one, two, both = (MinMaxObserver(replace(SPEC, axis=1)) for _ in range(3))
    first, second = torch.randn(3, 4), torch.randn(2, 4)
    one.observe(first)
    two.observe(second)
    both.observe(torch.cat([first, second]))
    one.merge(two)
    assert torch.equal(one.qparams().scale, both.qparams().scale)
    assert torch.equal(one.qparams().zero_point, torch.zeros(4, dtype=torch.int64))
