"""Sums of a small term and a large one: torch has nothing to say of them, and their order changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import fxq_core as fxq
from fxq_core.testing import Sample
from fxq_core.testing.samples import spatial_mean

Op = Callable[[torch.Tensor], torch.Tensor]
SMALL_FIRST: dict[str, tuple[str, Op]] = {
    "a number and": ("add", lambda x: 1 + x),
    "a number less": ("sub", lambda x: 1 - x),
    "channels and": ("add", lambda x: spatial_mean(x) + x),
    "channels less": ("sub", lambda x: spatial_mean(x) - x),
}
LARGE_FIRST: dict[str, Op] = {"a number and": lambda x: x + 1, "channels and": lambda x: x + spatial_mean(x)}


def result(pattern: str, op: Op, engine: str, registry: fxq.Registry) -> torch.Tensor:
    sample = Sample(pattern, op)
    x = sample.batch(32)
    qmodel = fxq.quantize(sample.model(), [x], engine, registry=registry)
    assert pattern in {row.pattern for row in fxq.report(qmodel).rows if row.quantized}
    with torch.no_grad():
        return qmodel(x)


@pytest.mark.parametrize("name", SMALL_FIRST)
def test_torch_prints_no_warning(
    engine: str, name: str, registry: fxq.Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    result(*SMALL_FIRST[name], engine, registry)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", LARGE_FIRST)
def test_the_order_changes_nothing(engine: str, name: str, registry: fxq.Registry) -> None:
    first, last = result(*SMALL_FIRST[name], engine, registry), result("add", LARGE_FIRST[name], engine, registry)
    assert torch.equal(first, last)
