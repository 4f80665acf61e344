"""``fxq engines``: one row per engine that is claimed or advertised, and the one that fxq would take."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fxq_core.cli.engines import in_torch
from fxq_core.engines import advertised

from support.cli import fxq, table
from support.distributions import CORE, hook

Install = Callable[..., None]
CURRENT = torch.backends.quantized.engine
OTHERS = sorted(advertised() - {CURRENT})


def offers(*names: str, reject: str = "None") -> str:
    """A plugin whose engines are the reference engine by other names, and say ``reject``."""
    statements = [f"yield dataclasses.replace(REFERENCE, name={n!r}, reject=lambda: {reject})" for n in names]
    return hook("fxq_engines", *statements)


def rows(text: str) -> dict[str, tuple[str, ...]]:
    return {row.pop("engine"): tuple(row.values()) for row in table(text)}


@pytest.fixture(autouse=True)
def torch_has_an_engine() -> None:
    if CURRENT == "none":
        pytest.skip("this build of torch has no engine")


def test_every_engine_has_a_row(install: Install) -> None:
    install("fxq-works", offers("works"))
    install("fxq-chip", offers("chip", reject="'this machine has no such chip'"))
    result = fxq("engines")
    assert result.exit_code == 0
    found = rows(result.stdout)
    assert list(found) == sorted({"works", "chip", "reference", *advertised()})
    assert found["works"] == ("fxq-works 1.0", "", "yes", "")
    assert found["chip"] == ("fxq-chip 1.0", "", "no", "this machine has no such chip")
    assert found["reference"] == (CORE, "", "yes", "")
    by, torch_says, usable, reason = found[CURRENT]
    assert (by, torch_says, usable) == ("", "current", "no")
    assert reason.startswith("is claimed by no installed plugin; ")
    assert result.stderr == ""


@pytest.mark.skipif(not OTHERS, reason="this build of torch has one engine only")
def test_the_only_one_of_torchs_that_works_is_taken_with_a_warning(install: Install) -> None:
    install("fxq-works", offers(OTHERS[0]))
    result = fxq("engines")
    assert result.stdout.endswith(f"\n\nwithout a name: {OTHERS[0]!r} of fxq-works 1.0\n")
    assert result.stderr == (
        f"warning: torch's engine is {CURRENT!r}, which is claimed by no installed plugin; "
        f"using {OTHERS[0]!r} of fxq-works 1.0\n"
    )


def test_one_that_torch_names_and_a_plugin_claims(install: Install) -> None:
    install("fxq-ours", offers(CURRENT))
    result = fxq("engines")
    assert rows(result.stdout)[CURRENT] == ("fxq-ours 1.0", "current", "yes", "")
    assert result.stdout.endswith(f"\n\nwithout a name: {CURRENT!r} of fxq-ours 1.0\n")
    assert result.stderr == ""


def test_a_check_that_fails_is_a_reason(install: Install) -> None:
    install("fxq-broken", offers("broken", reject="1 / 0"))
    result = fxq("engines")
    assert rows(result.stdout)["broken"] == (
        "fxq-broken 1.0", "", "no", "its check failed with ZeroDivisionError: division by zero",
    )  # fmt: skip


def test_where_none_can_be_chosen_it_says_why_and_that_is_no_error(install: Install) -> None:
    install("fxq-two", offers("one", "two"))
    result = fxq("engines")
    assert (result.exit_code, result.stderr) == (0, "")
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"without a name: torch's engine is {CURRENT!r}, which is claimed by no installed plugin; ")
    assert last.endswith("choose one of 'one', 'two' with engine=...")


def test_what_torch_says_of_an_engine() -> None:
    assert in_torch(CURRENT) == "current"
    assert [in_torch(name) for name in (*OTHERS, "tiny")] == ["advertised"] * len(OTHERS) + [""]
