"""Lists and dicts that a forward changes in place are noticed, and are what they were afterwards."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import torch
from torch import nn

from support.quantizing import captured, error, int8, quantized

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


class Keeping(nn.Module):
    def __init__(self, use: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.use, self.layer = use, nn.Linear(4, 4)
        self.seen: list[Any] = []
        self.cache: dict[str, Any] = {}
        self.nested = ({"deep": collections.deque([1])}, {3})

    def forward(self, x: torch.Tensor) -> Any:
        return self.use(self, self.layer(x))


def counted(m: Any, y: Any) -> Any:
    m.seen.append(1)
    return y * len(m.seen)


def cached(m: Any, y: Any) -> Any:
    m.cache["y"] = y
    return m.cache["y"] + 1


def deep(m: Any, y: Any) -> Any:
    m.nested[0]["deep"].append(y)
    return y


def grown(m: Any, y: Any) -> Any:
    m.nested[1].add(4)
    return y


@pytest.mark.parametrize("use", [counted, cached, deep, grown])
def test_a_container_that_is_changed_in_place(use: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Keeping(use)).eval()
    result = captured(model, X)
    assert result.left == {"": "it changes attributes of its own, which a trace would freeze"} | {
        "1": "it changes attributes of its own, which a trace would freeze"
    }
    inner = result.root.get_submodule("1")
    assert (inner.seen, inner.cache, inner.nested) == ([], {}, ({"deep": collections.deque([1])}, {3}))  # type: ignore[comparison-overlap]
    lowered = quantized(model, X)
    assert int8(lowered) == ["linear"] * 2


def test_an_attribute_that_is_set_anew_is_no_hindrance() -> None:
    def replaced(m: Any, y: Any) -> Any:
        m.seen = [y]
        return y

    model = Keeping(replaced).eval()
    assert captured(model, X).left == {}
    assert error(model, quantized(model, X), X) < 0.05
