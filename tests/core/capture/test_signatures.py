"""Every way to declare and to pass arguments, at the root and in a submodule."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from support.quantizing import captured, error, int8, quantized

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
Y = X.roll(1, 0)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 4)


class PositionalOnly(Base):
    def forward(self, x: Any, /, y: Any, gain: float = 2.0) -> Any:
        return self.layer(x) * gain + y


class Everything(Base):
    def forward(self, x: Any, *rest: Any, shift: Any = None, **more: Any) -> Any:
        y = self.layer(x) + rest[0]
        return y * more["gain"] if shift is None else y + shift


class KeywordOnly(Base):
    def forward(self, *, x: Any, mode: str = "plain") -> Any:
        return self.layer(x) if mode == "plain" else -self.layer(x)


class Several(Base):
    def forward(self, values: Any) -> Any:
        return self.layer(values[0]) + values[1]


class Named(Base):
    def forward(self, inputs: Any, index: int = 0) -> Any:
        return self.layer(inputs["x"]) + inputs["rest"][index]


CASES: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (PositionalOnly, (X, Y), {}),
    (PositionalOnly, (X,), {"y": Y, "gain": 3.0}),
    (Everything, (X, Y), {"gain": 2}),
    (Everything, (X, Y), {"shift": Y}),
    (KeywordOnly, (), {"x": X}),
    (KeywordOnly, (), {"x": X, "mode": "minus"}),
    (Several, ([X, Y],), {}),
    (Several, ((X, Y),), {}),
    (Named, ({"x": X, "rest": [X, Y]},), {"index": 1}),
]


class Around(nn.Module):
    """Calls a module as the case says, with control flow or without."""

    def __init__(self, inner: nn.Module, args: Any, kwargs: Any, traceable: bool) -> None:
        super().__init__()
        self.inner, self.args, self.kwargs, self.traceable = inner, args, kwargs, traceable

    def forward(self, x: torch.Tensor) -> Any:
        if not self.traceable and x.sum() > 1e6:
            return x
        return self.inner(*self.args, **self.kwargs) + x


@pytest.mark.parametrize(("kind", "args", "kwargs"), CASES)
def test_a_root(kind: Any, args: Any, kwargs: Any) -> None:
    model = kind().eval()
    captured(model, *args, **kwargs)
    batch = kwargs if not args else args if not kwargs else None
    if batch is None:  # one batch holds either positional or keyword arguments
        return
    lowered = quantized(model, batch)
    assert "linear" in int8(lowered)
    assert error(model, lowered, *args, **kwargs) < 0.05
    assert list(inspect.signature(lowered.forward).parameters) == list(inspect.signature(model.forward).parameters)


@pytest.mark.parametrize("traceable", [True, False])
@pytest.mark.parametrize(("kind", "args", "kwargs"), CASES)
def test_a_submodule(kind: Any, args: Any, kwargs: Any, traceable: bool) -> None:
    model = Around(kind(), args, kwargs, traceable).eval()
    lowered = quantized(model, X)
    assert "linear" in int8(lowered)
    assert error(model, lowered, X) < 0.05


def test_a_module_that_is_called_with_different_shapes() -> None:
    class Twice(nn.Module):
        def __init__(self, traceable: bool) -> None:
            super().__init__()
            self.inner, self.traceable = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), traceable

        def forward(self, x: torch.Tensor) -> Any:
            if not self.traceable and x.sum() > 1e6:
                return x
            return self.inner(x).sum() + self.inner(x[:1])

    for traceable in (True, False):
        torch.manual_seed(0)
        model = Twice(traceable).eval()
        lowered = quantized(model, X)
        assert set(int8(lowered)) >= {"linear_clamp"}
        assert error(model, lowered, X) < 0.05
