"""Objects that hold tensors go in, between modules and out as what they are."""

from __future__ import annotations

import collections
import copy
import dataclasses
import pickle
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from fxq_core.capture.verify import same

from support.quantizing import captured, int8, quantized, quantizer, run

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))


class ModelOutput(collections.OrderedDict):  # type: ignore[type-arg]
    """As in transformers: a dict of the fields that are not None, with attributes and positions."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if (value := getattr(self, field.name)) is not None:
                self[field.name] = value

    def __getitem__(self, key: Any) -> Any:
        return dict(self.items())[key] if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __reduce__(self) -> Any:
        return type(self), tuple(getattr(self, field.name) for field in dataclasses.fields(self))  # type: ignore[arg-type]

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(self[key] for key in self.keys())


@dataclasses.dataclass
class Encoded(ModelOutput):
    last: Any = None
    pooled: Any = None
    states: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    first: Any
    second: Any = None


@dataclasses.dataclass
class Derived:
    value: Any
    scale: int = dataclasses.field(default=3, kw_only=True)
    double: Any = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        self.double = self.value * 2


class Two(NamedTuple):
    first: Any
    second: Any = None


class Net(nn.Module):
    def __init__(self, form: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form, self.one, self.two = form, nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return FORMS[self.form](self.one(x), self.two(x))


FORMS: list[Any] = [
    lambda y, z: Encoded(y, pooled=z),
    lambda y, z: Encoded(last=Encoded(pooled=y), states=(z, [y, {"a": z}])),
    lambda y, z: [Encoded(y), {"b": Encoded(z)}, None],
    lambda y, z: Frozen(y, second=Frozen(z)),
    lambda y, z: Derived(y, scale=4),
    lambda y, z: Two(Frozen(y), (z, None)),
    lambda y, z: collections.OrderedDict(b=y, a=Two(z), none=None),
    lambda y, z: {"a": {"b": [y, (z, {})]}, "c": None},
]


def assert_alike(got: Any, wanted: Any, within: float) -> None:
    """Same types, fields, keys and order; numbers as close as int8 comes."""
    assert type(got) is type(wanted)
    if isinstance(wanted, torch.Tensor):
        assert (got - wanted).abs().max() <= within
    if isinstance(wanted, dict):
        assert list(got) == list(wanted)
        for key in wanted:
            assert_alike(got[key], wanted[key], within)
    elif isinstance(wanted, (list, tuple)):
        for one, other in zip(got, wanted, strict=True):
            assert_alike(one, other, within)
    if dataclasses.is_dataclass(wanted):
        for field in dataclasses.fields(wanted):
            assert_alike(getattr(got, field.name), getattr(wanted, field.name), within)


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_outputs_keep_types_fields_and_order(form: int) -> None:
    model = Net(form).eval()
    result = captured(model, X)
    assert (list(result.parts), result.left) == ([""], {})
    assert_alike(run(result.root, X), run(model, X), within=1e-6)
    lowered = quantized(model, X)
    assert int8(lowered) == ["linear"] * (1 if form == 4 else 2)
    for twin in (lowered, copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):
        assert_alike(run(twin, X), run(model, X), within=0.05)


class Around(nn.Module):
    """Takes what an inner module gives apart in every way."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.last = inner, nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        given = self.inner(x)
        return Encoded(self.last(given.last) + given["pooled"], states=given[0])


class Branch(Net):
    def forward(self, x: torch.Tensor) -> Any:
        return Encoded(x) if x.sum() > 1e6 else super().forward(x)


class Takes(nn.Module):
    """Control flow over what it is given, which it hands on."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.layer = Net(), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return self.passed(self.inner(x))

    def passed(self, given: Any) -> Any:
        return given if given.last.sum() > 1e6 else Encoded(self.layer(given.last), given.pooled)


@pytest.mark.parametrize(("inner", "parts"), [(Net, [""]), (Branch, ["", "inner.one", "inner.two"])])
def test_objects_between_modules(inner: Any, parts: list[str]) -> None:
    torch.manual_seed(0)
    model = Around(inner()).eval()
    assert list(captured(model, X).parts) == parts
    lowered = quantized(model, X)
    assert int8(lowered).count("linear") == 3
    assert_alike(run(lowered, X), run(model, X), within=0.1)


def test_a_traced_module_gives_an_object_to_code_that_is_not_traced() -> None:
    torch.manual_seed(0)
    model = Takes().eval()
    assert list(captured(model, X).parts) == ["inner", "layer"]
    lowered = quantized(model, X)
    assert_alike(run(lowered, X), run(model, X), within=0.1)
    assert type(quantizer(model, X).observe(X)) is Encoded


def test_a_dict_that_can_not_be_made_anew_leaves_its_module_as_it_is() -> None:
    class Default(Net):
        def forward(self, x: torch.Tensor) -> Any:
            return collections.defaultdict(list, a=self.one(x), b=self.two(x))

    model = Default().eval()
    result = captured(model, X)
    assert result.left == {"": "it can't be traced: TypeError: first argument must be callable or None"}
    assert_alike(run(quantized(model, X), X), run(model, X), within=0.05)


@pytest.mark.parametrize(
    ("result", "expected", "alike"),
    [
        ([X, (X,)], [X.clone(), (X * (1 + 1e-6),)], True),
        ([X, (X,)], [X, [X]], False),
        ({"a": X, "b": 1}, {"b": 1, "a": X}, False),
        (Encoded(X, states=(X,)), Encoded(X, states=(X,)), True),
        (Encoded(X), Encoded(X + 1), False),
        (Encoded(X), Encoded(pooled=X), False),
        (Frozen(X, "a"), Frozen(X, "b"), False),
        (3, 4, False),
        (X, X[:1], False),
        (X.long(), X, False),
        (torch.zeros(0), torch.zeros(0), True),
    ],
)
def test_what_is_the_same(result: Any, expected: Any, alike: bool) -> None:
    assert same(result, expected) is alike
