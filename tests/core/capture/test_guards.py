"""An argument that the example fixes can't become another; where it differs between calls, only that module stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fxq_core.capture.tracer import require_fixed
from fxq_core.errors import CaptureError

from support.quantizing import captured, error, quantized, run

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def test_a_module_that_is_called_with_different_flags() -> None:
    class Flagged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor, twice: bool = False) -> torch.Tensor:
            return 2 * self.layer(x) if twice else self.layer(x)

    class Inlined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flagged = Flagged()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.flagged(self.flagged(x), twice=True)

    class Untraceable(Inlined):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 1e6 else super().forward(x)

    torch.manual_seed(0)
    assert list(captured(Inlined(), X).parts) == [""]
    result = captured(Untraceable(), X)
    assert result.left["flagged"] == "it is called with different values of argument 'twice'"
    assert list(result.parts) == ["flagged.layer"]
    model = Untraceable().eval()
    assert error(model, quantized(model, X), X) < 0.05


def test_an_argument_that_the_example_fixes_is_guarded() -> None:
    class Flagged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor, gain: Any = 1.0, twice: bool = False, mask: Any = None) -> torch.Tensor:
            y = self.layer(x) * gain
            y = y if mask is None else y * mask
            return 2 * y if twice else y

    torch.manual_seed(0)
    model = Flagged().eval()
    lowered = quantized(model, X)
    for more in ({"gain": 1.0}, {"gain": 2.0}, {"gain": X[0]}, {"twice": False, "mask": None}):
        assert error(model, lowered, X, **more) < 0.05  # a number is an input like any other
    for name, value, was in (("twice", True, "False"), ("mask", X, "None"), ("mask", X[0, 0], "None")):
        with pytest.raises(CaptureError) as raised:
            run(lowered, X, **{name: value})
        assert str(raised.value) == (
            f"argument {name!r} was {was} in the example that this model was quantized with and can't become a "
            f"{type(value).__name__} now; quantize again with an example that gives it"
        )


def test_a_tensor_does_not_pass_the_guard_of_a_number() -> None:
    for value in (torch.ones(3), torch.ones(())):
        with pytest.raises(CaptureError) as raised:
            require_fixed(value, True, "x")
        assert str(raised.value) == (
            "argument 'x' was True in the example that this model was quantized with and can't become a Tensor now; "
            "quantize again with an example that gives it"
        )


def test_equal_values_pass_the_guard() -> None:
    nan = float("nan")
    for value, same in ((None, None), (1, 1.0), ("a", "a"), (True, 1), (nan, nan)):
        require_fixed(value, same, "x")
