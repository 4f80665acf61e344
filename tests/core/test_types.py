"""Records are checked when they are made, and never change."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.reference import REFERENCE
from fxq_core.types import NOBODY

U8 = {"dtype": torch.uint8, "qmin": 0, "qmax": 255, "symmetric": False, "axis": None, "observer": "minmax"}


@pytest.mark.parametrize(
    ("ops", "steps"),
    [
        (nn.ReLU, ({nn.ReLU},)),
        ("relu", ({"relu"},)),
        (F.relu, ({F.relu},)),
        ({nn.ReLU, "relu"}, ({nn.ReLU, "relu"},)),
        ([nn.ReLU, "relu"], ({nn.ReLU, "relu"},)),
        ((nn.Conv2d, {nn.ReLU, "relu"}), ({nn.Conv2d}, {nn.ReLU, "relu"})),
        ((), ()),
    ],
)
def test_a_pattern_takes_an_op_a_set_or_a_chain_and_holds_a_chain_of_sets(ops: object, steps: object) -> None:
    pattern = fxq.Pattern("p", ops)
    assert pattern.ops == steps
    assert all(isinstance(step, frozenset) for step in pattern.ops)
    assert dataclasses.replace(pattern, name="q").ops == pattern.ops


@pytest.mark.parametrize(
    ("name", "ops", "text"),
    [
        ("p", set(), "a pattern needs a name and at least one spelling for each of its ops"),
        ("p", (nn.ReLU, set()), "a pattern needs a name and at least one spelling for each of its ops"),
        (nn.ReLU, nn.ReLU, "a pattern needs a name and at least one spelling for each of its ops"),
        ("", nn.ReLU, "a pattern needs a name and at least one spelling for each of its ops"),
        ("p", 3, "3 is no module type, function or method name"),
        ("p", (nn.Conv2d, {None}), "None is no module type, function or method name"),
    ],
)
def test_a_pattern_refuses_what_no_graph_can_spell(name: str, ops: object, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        fxq.Pattern(name, ops)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"qmax": 256}, "codes 0 to 256 do not fit torch.uint8"),
        ({"qmin": -1}, "codes -1 to 255 do not fit torch.uint8"),
        ({"qmin": 7, "qmax": 7}, "codes 7 to 7 do not fit torch.uint8"),
        ({"qmin": 1, "symmetric": True}, "a symmetric range must hold code 0"),
    ],
)
def test_a_qspec_refuses_codes_that_cannot_be(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        fxq.QSpec(**{**U8, **wrong})


def test_a_qspec_is_of_integers() -> None:
    with pytest.raises((TypeError, ValueError)):
        fxq.QSpec(**{**U8, "dtype": torch.float32})


GOOD = {
    fxq.QSpec: U8,
    fxq.Pattern: {"name": "p", "ops": nn.CELU},
    fxq.Engine: {field.name: getattr(REFERENCE, field.name) for field in dataclasses.fields(REFERENCE)},
    fxq.ObserverSpec: {"name": "o", "build": print},
    fxq.Lowering: {"engine": "torch", "pattern": "celu", "emit": print},
}


@pytest.mark.parametrize(
    ("record", "field", "value", "wanted"),
    [
        (fxq.QSpec, "dtype", "uint8", "dtype"),
        (fxq.QSpec, "qmin", 0.0, "a whole number"),
        (fxq.QSpec, "qmax", None, "a whole number"),
        (fxq.QSpec, "symmetric", 1, "a bool"),
        (fxq.QSpec, "axis", "channels", "int or None"),
        (fxq.QSpec, "observer", None, "str"),
        (fxq.Pattern, "priority", "high", "a whole number"),
        (fxq.Pattern, "shares_qparams", None, "a bool"),
        (fxq.Pattern, "weight_only", 1, "a bool"),
        (fxq.Pattern, "reject", "never", "callable or None"),
        (fxq.Engine, "name", "", "a name"),
        (fxq.Engine, "name", "two\nlines", "a name"),
        (fxq.Engine, "family", None, "a name"),
        (fxq.Pattern, "name", " relu", "a name"),
        (fxq.Lowering, "pattern", "relu\t", "a name"),
        (fxq.Engine, "activation", torch.uint8, "QSpec"),
        (fxq.Engine, "weight", None, "QSpec"),
        (fxq.Engine, "active", None, "callable"),
        (fxq.Engine, "reject", None, "callable"),
        (fxq.Engine, "finish", "compile", "callable or None"),
        (fxq.ObserverSpec, "name", 3, "a name"),
        (fxq.ObserverSpec, "build", "MinMaxObserver", "callable"),
        (fxq.Lowering, "engine", ("x", "y"), "a name"),
        (fxq.Lowering, "pattern", fxq.Pattern("celu", nn.CELU), "a name"),
        (fxq.Lowering, "emit", None, "callable"),
        (fxq.Lowering, "priority", None, "a whole number"),
        (fxq.Lowering, "reject", "never", "callable or None"),
        (fxq.Lowering, "output", (0.5, 3), "QParams or None"),
        (fxq.Lowering, "in_float", None, "a bool"),
    ],
)
def test_a_record_with_a_field_of_another_type_is_refused_when_it_is_made(
    record: type, field: str, value: object, wanted: str
) -> None:
    record(**GOOD[record])
    text = f"{record.__name__}.{field} must be {wanted}, not {value!r}"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        record(**{**GOOD[record], field: value})


def test_qparams_unpack_to_scale_and_zero_point() -> None:
    scale, zero_point = fxq.QParams(0.5, 3, 0, 255)
    assert (scale, zero_point) == (0.5, 3)


@pytest.mark.parametrize(
    "record",
    [
        fxq.QSpec(**U8),
        fxq.QParams(0.5, 3, 0, 255),
        fxq.Provider("fxq-celu", "0.1.0", "celu"),
        fxq.Pattern("celu", nn.CELU),
        fxq.Match(fxq.Pattern("celu", nn.CELU), (), (), ()),
        REFERENCE,
        fxq.ObserverSpec("o", print),
        fxq.Lowering(engine="torch", pattern="celu", emit=print),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_are_frozen_and_have_slots(record: object) -> None:
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, getattr(record, name))
    assert not hasattr(record, "__dict__")


def test_a_provider_reads_as_distribution_and_version() -> None:
    assert str(fxq.Provider("fxq-celu", "0.1.0", "celu")) == "fxq-celu 0.1.0"
    assert str(fxq.Provider("mine", "", "given")) == "mine"
    assert str(NOBODY) == "an unregistered record"


def test_who_provides_a_record_is_no_part_of_what_it_is() -> None:
    pattern = fxq.Pattern("celu", nn.CELU)
    attributed = dataclasses.replace(pattern, provider=fxq.Provider("fxq-celu", "0.1.0", "celu"))
    assert attributed == pattern
    assert repr(attributed) == repr(pattern)
    assert hash(attributed) == hash(pattern)
