"""Lists, tuples and dicts of values: a trace reaches what they hold, and refuses another layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.capture.containers import layout_of

from support.quantizing import captured, error, int8, quantized, run

X = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
Y = X.flip(0)
OTHER_LAYOUT = (
    "argument 'values' nests other values than in the example that this model was quantized with; "
    "quantize again with an example like it"
)


class Net(nn.Module):
    def __init__(self, form: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.conv, self.last = nn.Conv2d(6, 6, 1), nn.Conv2d(3, 3, 1)

    def forward(self, values: Any) -> Any:
        return self.form(self, values)


def summed(values: Any) -> Any:
    total = 0
    for value in values:
        total = total + value
    return total


def is_one_graph(form: Callable[..., Any], values: Any) -> None:
    found = captured(Net(form), values)
    assert (list(found.parts), found.left) == ([""], {})


SPLITS: dict[str, Callable[..., Any]] = {
    "list": lambda m, x: summed(list(x.chunk(2, 1))),
    "unpacked": lambda m, x: operator_difference(*x.chunk(2, 1)),
    "starred": lambda m, x: torch.cat([*x.chunk(3, 1)][::-1], 1),
    "named": lambda m, x: summed(x.chunk(chunks=2, dim=1)),
    "dim first": lambda m, x: summed(torch.chunk(x, dim=1, chunks=2)),
    "sizes": lambda m, x: torch.cat([*x.split([2, 4], 1)][::-1], 1),
    "sizes by name": lambda m, x: torch.cat([*x.split(split_size=[2, 4], dim=1)][::-1], 1),
    "sizes, dim first": lambda m, x: torch.cat([*torch.split(x, dim=1, split_size_or_sections=[2, 4])][::-1], 1),
    "with sizes": lambda m, x: torch.cat([*x.split_with_sizes((1, 5), 1)][::-1], 1),
    "tensor_split": lambda m, x: torch.cat([*torch.tensor_split(x, 4, 1)][::-1], 1),
    "tensor_split at": lambda m, x: torch.cat([*x.tensor_split([1, 3], 1)][::-1], 1),
    "tensor_split at a tuple": lambda m, x: torch.cat([*torch.tensor_split(x, (5,), dim=1)][::-1], 1),
    "length": lambda m, x: x * len(x.chunk(3, 1)) + len(x.split([2, 4], 1)),
    "enumerated": lambda m, x: summed(i * y for i, y in enumerate(x.chunk(2, 1))),
    "zipped": lambda m, x: summed(a * b for a, b in zip(x.chunk(2, 1), m.conv(x).chunk(2, 1), strict=True)),
}


def operator_difference(first: Any, second: Any) -> Any:
    return first - second


@pytest.mark.parametrize("name", SPLITS)
def test_the_pieces_of_a_tensor_are_taken_one_by_one(name: str) -> None:
    is_one_graph(SPLITS[name], X)


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: summed(x.chunk(4, 1)),  # gives three of two channels
        lambda m, x: summed(x[:, :1].chunk(3, 1)),
        lambda m, x: summed(x.split(2, 1)),
        lambda m, x: summed(x.unbind(1)),
        lambda m, x: x * len(x.chunk(4, 1)),
    ],
)
def test_where_the_number_of_pieces_is_not_known_the_result_is_right(form: Any) -> None:
    captured(Net(form), X)


def test_chunks_between_layers_are_int8() -> None:
    def form(m: Any, x: torch.Tensor) -> Any:
        a, b = m.conv(x).chunk(2, 1)
        return m.last(F.relu(b)) + m.last(a)

    model = Net(form)
    lowered = quantized(model, X)
    assert int8(lowered).count("chunk") == 1
    assert error(model, lowered, X) < 0.03


CONTAINERS: dict[str, tuple[Callable[..., Any], Any]] = {
    "list": (lambda m, v: summed(m.conv(x) for x in v), [X, Y]),
    "tuple": (lambda m, v: summed(m.conv(x) for x in v), (X, Y)),
    "dict": (lambda m, v: summed(m.conv(x) for x in v.values()), {"a": X, "b": Y}),
    "dict items": (lambda m, v: {k: m.conv(x) for k, x in v.items()}, {"a": X, "b": Y}),
    "length": (lambda m, v: m.conv(v[0]) * len(v), [X, Y]),
    "unpacked": (lambda m, v: operator_difference(*v), [X, Y]),
    "nested": (lambda m, v: summed(m.conv(x) for pair in v["pairs"] for x in pair), {"pairs": [(X, Y), (Y, X)]}),
    "numbers": (lambda m, v: summed(m.conv(x) * n for x, n in v), [(X, 2.0), (Y, 3.0)]),
    "concatenated": (lambda m, v: torch.cat(v, 1), [X, Y]),
    "slice": (lambda m, v: summed(v[1:]), [X, Y, X]),
    "membership": (lambda m, v: m.conv(v["a"]) if "b" in v else v["a"], {"a": X, "b": Y}),
    "returned": (lambda m, v: v, [X, (Y, {"c": X})]),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_an_argument_that_holds_values(name: str) -> None:
    form, values = CONTAINERS[name]
    is_one_graph(form, (values,)[0])
    model = Net(form)
    with_inner = Around(model)
    found = captured(with_inner, values)
    assert (list(found.parts), found.left) == ([""], {})


class Around(nn.Module):
    """Hands its argument to a module as it is."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, values: Any) -> Any:
        return self.inner(values)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("list", [X]), ("list", [X, Y, X]), ("list", (X, Y)), ("list", {"a": X, "b": Y}), ("dict", {"a": X}),
        ("dict", {"a": X, "c": Y}), ("nested", {"pairs": [(X, Y)]}), ("list", [X, [Y]]), ("list", X),
    ],
)  # fmt: skip
def test_another_layout_is_refused(name: str, other: Any) -> None:
    form, values = CONTAINERS[name]
    lowered = quantized(Net(form), (values,))
    with pytest.raises(fxq.CaptureError) as caught:
        run(lowered, other)
    assert str(caught.value) == OTHER_LAYOUT


def test_what_a_module_only_picks_from_may_have_another_length() -> None:
    model = Net(lambda m, v: m.conv(v[0]) + v[1])
    lowered = quantized(model, ([X, Y],))
    assert error(model, lowered, [X, Y, X]) < 0.03


def test_a_module_may_write_into_the_list_it_is_given() -> None:
    def form(m: Any, v: Any) -> Any:
        for i, x in enumerate(v):
            v[i] = m.conv(x) + i
        return v

    values = [X, Y]
    model = Net(form)
    found = run(captured(model, [X, Y]).root, [X, Y])
    for one, other in zip(found, run(Net(form).eval(), [X, Y]), strict=True):
        torch.testing.assert_close(one, other)
    lowered = quantized(model, (values,))
    assert int8(lowered) == ["conv2d", "conv2d"] or int8(lowered).count("conv2d") == 2
    assert isinstance(run(lowered, [X, Y]), list)


def test_calls_with_different_layouts_stay_right() -> None:
    class Several(nn.Module):
        def __init__(self, traceable: bool) -> None:
            super().__init__()
            self.inner, self.traceable = Net(CONTAINERS["list"][0]), traceable

        def forward(self, x: torch.Tensor) -> Any:
            if not self.traceable and x.sum() > 1e9:
                return x
            return self.inner([x, x]) + self.inner([x, x, x])

    for traceable in (True, False):
        model = Several(traceable)
        lowered = quantized(model, X)
        assert error(model, lowered, X) < 0.03
        assert "conv2d" in int8(lowered)


def test_layouts_of_plain_containers_only() -> None:
    class Mine(list[Any]):
        pass

    for value in ([], (), {}, X, Mine([X]), None, "text", torch.Size([2])):
        assert layout_of(value) is None
    one, same, other = layout_of([X, {"a": 1}]), layout_of([Y, {"a": 2}]), layout_of([X, {"b": 1}])
    assert one == same
    assert one != other
