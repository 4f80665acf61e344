"""The arguments of each op by name, as torch's own documentation names and orders them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx.operator_schemas import get_signature_for_torch_op

from fxq_core.signatures import ALIASES, REQUIRED, SIGNATURES, arguments, asks_for_shape, clamp_bounds

FUNCTIONS = [
    (op, names)
    for ops, names in SIGNATURES
    for op in sorted(ops, key=str)
    if callable(op) and not isinstance(op, type) and getattr(op, "__module__", "") != "_operator"
]


def orders_of(op: Any) -> list[list[str]]:
    """The names of a function's arguments in each of its overloads."""
    if isinstance(op, Callable) and inspect.isfunction(op):  # type: ignore[arg-type]
        return [list(inspect.signature(op).parameters)]
    found = get_signature_for_torch_op(op) or []
    return [[ALIASES.get(name, "input" if name == "self" else name) for name in s.parameters] for s in found]


def call(target: Any, *args: Any, **kwargs: Any) -> fx.Node:
    graph = fx.Graph()
    first = graph.placeholder("x")
    if isinstance(target, str):
        return graph.call_method(target, (first, *args), kwargs)
    return graph.call_function(target, args, kwargs)


@pytest.mark.parametrize(("op", "names"), FUNCTIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_names_and_order_are_torchs(op: Any, names: dict[str, Any]) -> None:
    orders = orders_of(op)
    ours = [name for name in names if name != "out"]
    if orders:
        # leading ones by place; the rest may be keywords only, in any order
        assert any(
            all(name in order for name, default in names.items() if default is REQUIRED)
            and [n for n in order if n in ours] == [n for n in ours if n in order]
            for order in orders
        ), orders


@pytest.mark.parametrize(("op", "names"), FUNCTIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_places_and_keywords_are_the_same(op: Any, names: dict[str, Any]) -> None:
    given = {name: number for number, name in enumerate(names)}
    by_place, by_name = call(op, *given.values()), call(op, **given)
    assert arguments(by_place, None) == arguments(by_name, None) == given
    assert arguments(call(op, *list(given.values())[:1]), None) == {**names, next(iter(names)): 0}


PYTHON = [F.layer_norm, F.group_norm, F.pad, F.dropout, F.instance_norm, F.batch_norm, F.embedding]


@pytest.mark.parametrize("op", PYTHON)
def test_defaults_are_torchs(op: Any) -> None:
    found = arguments(call(op, 0), None)
    parameters = inspect.signature(op).parameters.values()
    wanted = {p.name: p.default for p in parameters if p.default is not p.empty and p.name in found}
    assert wanted
    assert {name: found[name] for name in wanted} == wanted


def test_numpys_names_are_torchs() -> None:
    found = arguments(call("max", axis=1, keepdims=True), None)
    assert (found["dim"], found["keepdim"]) == (1, True)
    assert arguments(call(torch.bmm, 1, mat2=2), None)["other"] == 2
    assert arguments(call(torch.mean, x=3, axis=0), None)["input"] == 3


def test_a_module_answers_by_its_attributes() -> None:
    node = call(F.relu)
    assert arguments(node, nn.LeakyReLU(0.3))["negative_slope"] == 0.3
    assert arguments(node, nn.Upsample(scale_factor=2, mode="bilinear"))["mode"] == "bilinear"
    assert arguments(node, nn.AvgPool2d(3, divisor_override=2))["divisor_override"] == 2


def test_an_unknown_op_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="fft"):
        arguments(call("fft"), None)


@pytest.mark.parametrize(
    ("node", "module", "bounds"),
    [
        (call(F.relu), None, (0.0, torch.inf)),
        (call("relu"), None, (0.0, torch.inf)),
        (call(F.relu6), None, (0.0, 6.0)),
        (call(F.relu), nn.Hardtanh(-2.0, 3.0), (-2.0, 3.0)),
        (call(F.hardtanh, 0), None, (-1.0, 1.0)),
        (call("clamp", -1), None, (-1, torch.inf)),
        (call("clamp", max=4), None, (-torch.inf, 4)),
        (call(torch.clamp_max, 0, 4), None, (-torch.inf, 4)),
        (call("clamp_min", min=-4), None, (-4, torch.inf)),
    ],
)
def test_bounds_of_clamps(node: Any, module: Any, bounds: Any) -> None:
    assert clamp_bounds(node, module) == bounds


def test_what_asks_for_a_shape() -> None:
    for node in (call("size", 0), call("dim"), call("numel"), call(getattr, 0, "shape"), call(getattr, 0, "ndim")):
        assert asks_for_shape(node)
    for node in (call("stride"), call(getattr, 0, "T"), call("sum"), call(F.relu, 0)):
        assert not asks_for_shape(node)
