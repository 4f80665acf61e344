"""Batches as arguments; which arguments a trace may fix."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import torch
from torch import nn

from fxq_core.capture.calls import CallLog, as_arguments, cloned, fixed_arguments, positional

from support.quantizing import error, patterns, quantized, quantizer, run

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
Pair = collections.namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    ("batch", "args", "kwargs"),
    [
        (X, (X,), {}),
        ((X, 1), (X, 1), {}),
        ([X, X], (X, X), {}),
        (Pair(X, 2), (X, 2), {}),
        ({"x": X}, (), {"x": X}),
        (collections.OrderedDict(x=X), (), {"x": X}),
        (({"x": X},), ({"x": X},), {}),
        ("text", ("text",), {}),
        (None, (None,), {}),
        (3, (3,), {}),
    ],
)
def test_a_batch_is_arguments(batch: Any, args: Any, kwargs: Any) -> None:
    assert repr(as_arguments(batch)) == repr((args, kwargs))


def test_clones_keep_structure_and_share_nothing() -> None:
    args, kwargs = cloned((([X, {"a": X}], 3, None), {"pair": Pair(X, "y")}))
    assert (args[1:], type(kwargs["pair"]), kwargs["pair"].y) == ((3, None), Pair, "y")
    for one in (args[0][0], args[0][1]["a"], kwargs["pair"].x):
        assert torch.equal(one, X)
        assert one.data_ptr() != X.data_ptr()


class Signature(nn.Module):
    def forward(self, x: Any, scale: float = 2.0, *rest: Any, flag: bool = False, **more: Any) -> Any:
        return x


def test_what_is_no_tensor_is_fixed_and_defaults_count() -> None:
    assert fixed_arguments(Signature(), (X,), {}) == {"scale": 2.0, "flag": False}
    assert fixed_arguments(Signature(), (X, X, 3), {"flag": True, "extra": 1}) == {"flag": True}
    assert fixed_arguments(Signature(), (None, None), {"flag": X}) == {"x": None, "scale": None}


def test_arguments_come_in_the_order_of_the_parameters() -> None:
    class Ordered(nn.Module):
        def forward(self, a: Any, b: Any = 2, c: Any = 3) -> Any:
            return a

    assert positional(Ordered(), (1,), {"c": 5}) == (1, 2, 5)
    assert positional(Ordered(), (), {"c": 5, "a": 0}) == (0, 2, 5)


def test_the_log_sees_every_path_and_leaves_no_hook() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Identity()
            self.two = self.one
            self.drop = nn.Sequential(nn.Identity())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(x)

    model = Twice()
    with CallLog(model) as log:
        model(X)
    assert (log.fixed, log.varies) == ({"one": {}, "two": {}}, {})
    assert not any(module._forward_pre_hooks for module in model.modules())


class KeywordOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, *, scale: torch.Tensor, shift: float = 0.5) -> torch.Tensor:
        return self.layer(x) * scale + shift


class KeywordOnlyAfterDefault(KeywordOnly):
    def forward(self, x: torch.Tensor, power: int = 2, *, scale: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.layer(x) * scale + power


class AnyKeywords(KeywordOnly):
    def forward(self, x: torch.Tensor, **more: Any) -> torch.Tensor:  # type: ignore[override]
        return self.layer(x) * more["scale"]


@pytest.mark.parametrize("kind", [KeywordOnly, KeywordOnlyAfterDefault, AnyKeywords])
def test_keyword_arguments(kind: Any) -> None:
    torch.manual_seed(0)
    model, batch = kind().eval(), {"x": X, "scale": torch.tensor(2.0)}
    lowered = quantized(model, batch)
    assert "linear" in patterns(lowered).values()
    assert error(model, lowered, **batch) < 0.05
    assert error(model, lowered, X, scale=torch.tensor(2.0)) < 0.05


class Variadic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        return self.layer(values[0]) + self.layer(values[1])


class Mapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, inputs: dict[str, Any]) -> torch.Tensor:
        return self.layer(inputs["x"]) * inputs["gains"][0]


def test_a_variable_number_of_arguments() -> None:
    torch.manual_seed(0)
    model = Variadic().eval()
    lowered = quantized(model, (X, 2 * X))
    assert set(patterns(lowered).values()) == {"linear", "add"}
    assert error(model, lowered, X, 2 * X) < 0.05


def test_a_dict_as_the_one_argument() -> None:
    torch.manual_seed(0)
    model, batch = Mapped().eval(), {"x": X, "gains": [torch.tensor(3.0)]}
    lowered = quantized(model, (batch,))
    assert "linear" in patterns(lowered).values()
    assert error(model, lowered, batch) < 0.05


def test_defaults_may_be_given_or_not() -> None:
    class Optional(KeywordOnly):
        def forward(self, x: torch.Tensor, gain: float = 2.0, mask: Any = None) -> torch.Tensor:  # type: ignore[override]
            y = self.layer(x) * gain
            return y if mask is None else y * mask

    torch.manual_seed(0)
    model = Optional().eval()
    q = quantizer(model, X).calibrate([X, (X, 2.0), {"x": X, "gain": 2.0, "mask": None}])
    assert error(model, q.quantize(), X) < 0.05
    masked = quantized(model, {"x": X, "mask": X.sign()})
    assert error(model, masked, X, 2.0, X.sign()) < 0.05
    assert error(model, masked, X, mask=-X.sign()) < 0.05
    assert run(masked, mask=X, x=X).shape == X.shape
