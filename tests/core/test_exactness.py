"""The reference engine against integer arithmetic: bit for bit, or one code off where EXCEPTIONS says so."""

from __future__ import annotations

import pytest

import fxq_core as fxq
from fxq_core.reference import REFERENCE

from support.oracle.checks import check_codes, departs
from support.oracle.exceptions import ABSENT, EXCEPTIONS
from support.oracle.samples import SAMPLES

NAME = REFERENCE.name
# without what is one op only where a plugin has a kernel for it
OURS = [name for name, sample in SAMPLES.items() if (sample.pattern, NAME) not in ABSENT]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", OURS)
def test_every_op_gives_the_codes_of_the_oracle(name: str, core: fxq.Registry) -> None:
    check_codes(NAME, name, core)


@pytest.mark.parametrize("op", [op for op, name in EXCEPTIONS if name == NAME])
def test_no_exception_is_made_for_what_is_exact(op: str, core: fxq.Registry) -> None:
    assert departs(op, NAME, core)
