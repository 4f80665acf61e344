"""Counting is exact for every float32, in any layout, and needs no more than one block of memory."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fxq_core.observers import HistogramObserver, PercentileObserver
from fxq_core.observers.bins import BLOCK, bin_counts, count_zeros
from fxq_core.types import QSpec

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
LAYOUTS = {
    "contiguous": lambda value: value,
    "channels last": lambda value: value.contiguous(memory_format=torch.channels_last),
    "transposed": lambda value: value.transpose(1, 3),
    "every other": lambda value: value[:, :, ::2],
    "expanded": lambda value: value[:, :1].expand(-1, 3, -1, -1),
}


def spec(observer: str) -> QSpec:
    return QSpec(torch.uint8, 0, 255, symmetric=False, axis=None, observer=observer)


@settings(deadline=None, max_examples=300)
@given(st.lists(FLOATS, min_size=1, max_size=20))
def test_each_value_is_counted_in_the_bin_that_exact_arithmetic_names(values: list[float]) -> None:
    observer = PercentileObserver(spec("percentile"))
    observer.observe(torch.tensor(values))
    # a power of two times a float is exact in Python's floats
    bins = Counter(math.floor(value * 2.0**-observer.exponent) - observer.start for value in values)
    assert {index: count for index, count in enumerate(observer.counts.tolist()) if count} == bins


@pytest.mark.parametrize("exponent", [-3, 0, 1, 104])
def test_a_negative_value_however_small_is_left_of_zero(exponent: int) -> None:
    values = torch.tensor([-(2.0**-149), 0.0, -0.0, 2.0**-149])
    assert bin_counts(values, exponent, -1, 2).tolist() == [1, 3]


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_blocks_leave_nothing_out_and_nothing_twice(size: int) -> None:
    values = torch.arange(size) % 11
    assert torch.equal(bin_counts(values.float(), 0, 0, 11), torch.bincount(values, minlength=11))
    assert count_zeros(values) == (size + 10) // 11


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_makes_no_difference(layout: str) -> None:
    value = LAYOUTS[layout](torch.randint(-5, 5, (2, 3, 8, 4), generator=torch.Generator().manual_seed(0)).float())
    wanted = Counter(int(number) + 5 for number in value.flatten().tolist())
    assert dict(enumerate(bin_counts(value, 0, -5, 10).tolist())) == {index: wanted[index] for index in range(10)}
    assert count_zeros(value) == wanted[5]


class Made(TorchDispatchMode):
    """Notes the size, in bytes, of the largest tensor that an op makes in memory other than the given tensor's."""

    def __init__(self, given: torch.Tensor) -> None:
        super().__init__()
        self.given, self.largest = given.untyped_storage().data_ptr(), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor) and made.untyped_storage().data_ptr() != self.given:
                self.largest = max(self.largest, made.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed"])
@pytest.mark.parametrize("observer", [HistogramObserver, PercentileObserver])
def test_observing_a_dense_tensor_takes_the_memory_of_a_block_whatever_its_size(
    observer: type[HistogramObserver], layout: str
) -> None:
    value = LAYOUTS[layout](torch.randn(2, 16, 128, 128))
    assert value.nbytes == 8 * BLOCK * 4
    with Made(value) as made:
        observer(spec("any")).observe(value)
    assert BLOCK * 4 <= made.largest <= BLOCK * 8
