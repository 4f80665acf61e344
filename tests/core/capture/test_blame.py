"""What is traced wrongly, or used in a way that no part allows, costs only itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.capture import capture
from fxq_core.capture.blame import OTHER_NUMBERS, USED_OTHERWISE

from support.quantizing import captured, error, int8, quantized, run

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


class Deceived(nn.Module):
    """While tracing, ``isinstance`` sees no tensor, and the other branch is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.one(x) if isinstance(x, torch.Tensor) else self.two(x)


class Branch(nn.Module):
    def __init__(self, inner: nn.Module, use: Any = lambda inner, x: inner(x)) -> None:
        super().__init__()
        self.inner, self.use, self.last = inner, use, nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return x if x.sum() > 1e6 else self.last(self.use(self.inner, x))


def seeded(make: Any) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()  # type: ignore[no-any-return]


def check(make: Any, left: dict[str, str], linears: int) -> None:
    model = seeded(make)
    result = captured(model, X)
    assert {path: reason for path, reason in result.left.items() if "never reached" not in reason} == left
    lowered = quantized(model, X)
    assert int8(lowered).count("linear") == linears
    assert error(model, lowered, X) < 0.1


def test_a_submodule_with_a_wrong_trace() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), Deceived()), Deceived(), nn.Linear(4, 4))

    check(make, {"1.1": OTHER_NUMBERS, "2": OTHER_NUMBERS}, linears=5)


def test_a_root_with_a_wrong_trace_over_a_submodule_with_one() -> None:
    class Root(Deceived):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Deceived()

        def forward(self, x: Any) -> Any:
            return super().forward(self.inner(x))

    check(Root, {"": OTHER_NUMBERS, "inner": OTHER_NUMBERS}, linears=2)


def test_a_wrong_trace_below_an_untraceable_root() -> None:
    model = seeded(lambda: Branch(nn.Sequential(nn.Linear(4, 4), Deceived())))
    result = captured(model, X)
    assert result.left["inner.1"] == OTHER_NUMBERS
    assert sorted(result.parts) == ["inner", "inner.1.one", "last"]


def test_random_numbers_of_a_submodule_are_not_taken_for_a_wrong_trace() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(self.layer(x), 0.5, training=True)

    model = seeded(lambda: nn.Sequential(Noisy(), Noisy(), Deceived()))
    result = captured(model, X)
    assert result.left == {"2": OTHER_NUMBERS, "2.two": "the example never reached it"}


@pytest.mark.parametrize(
    ("inner", "use", "left", "linears"),
    [
        (lambda: nn.Linear(4, 4), lambda m, x: F.linear(m(x), m.weight), {"inner"}, 1),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)),
            lambda m, x: m(x) * m[0].weight.sum(),
            {"inner", "inner.0"},
            2,
        ),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)),
            lambda m, x: m(x) + sum(layer(x) for layer in m),
            {"inner"},
            3,
        ),
    ],
)
def test_what_untraceable_code_uses_otherwise_stays(inner: Any, use: Any, left: set[str], linears: int) -> None:
    model = seeded(lambda: Branch(inner(), use))
    result = captured(model, X)
    assert {path: reason for path, reason in result.left.items() if path} == dict.fromkeys(left, USED_OTHERWISE)
    lowered = quantized(model, X)
    assert int8(lowered).count("linear") == linears
    assert error(model, lowered, X) < 0.1


def test_a_tied_embedding_that_the_root_reads() -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.body = nn.Embedding(10, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            if tokens.sum() < 0:
                return tokens
            return F.linear(self.body(self.embed(tokens)), self.embed.weight)

    model, tokens = seeded(Tagger), torch.arange(10)
    assert captured(model, tokens).left["embed"] == USED_OTHERWISE
    lowered = quantized(model, tokens)
    assert sorted(int8(lowered)) == ["linear", "linear_clamp", "linear_clamp"]
    assert error(model, lowered, tokens) < 0.1


def test_plain_attributes_may_be_used() -> None:
    model = seeded(lambda: Branch(nn.Linear(4, 4), lambda m, x: m(x) * m.out_features))
    assert sorted(capture(model, ((X,), {})).parts) == ["inner", "last"]
    assert error(model, quantized(model, X), X) < 0.1


def test_a_model_whose_numbers_differ_from_call_to_call_is_left() -> None:
    calls: list[int] = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return self.layer(x) + len(calls)

    model = seeded(Counting)
    result = capture(model, ((X,), {}))
    assert (result.parts, result.left) == ({}, {"": OTHER_NUMBERS})
    assert run(quantized(model, X), X).shape == (3, 4)
