"""Every op of every engine against integer arithmetic: bit for bit, or one code off where EXCEPTIONS says so."""

from __future__ import annotations

import pytest

import fxq_core as fxq

from support.engines import NAMED, usable_engines
from support.oracle.checks import check_codes, departs
from support.oracle.exceptions import EXCEPTIONS
from support.oracle.samples import SAMPLES

UNDER_TEST = NAMED or usable_engines()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", SAMPLES)
def test_every_op_gives_the_codes_of_the_oracle(engine: str, name: str, registry: fxq.Registry) -> None:
    check_codes(engine, name, registry)


@pytest.mark.parametrize(("op", "name"), [(op, name) for op, name in EXCEPTIONS if name in UNDER_TEST])
def test_no_exception_is_made_for_what_is_exact(op: str, name: str, registry: fxq.Registry) -> None:
    assert departs(op, name, registry)
