"""``fxq patterns``: who lowers which pattern for which engine, and which lowerings wait for an engine."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from support.cli import fails, fxq, table
from support.distributions import CORE, hook

Install = Callable[..., None]
CELU = hook("fxq_patterns", "yield Pattern('celu', nn.CELU)")
LOWERED = CELU + hook("fxq_lowerings", "yield Lowering(engine='swift', pattern='celu', emit=print)")


def engine(*lines: str, family: str = "swift") -> str:
    return hook("fxq_engines", f"yield dataclasses.replace(REFERENCE, name='quick', family={family!r})") + "".join(
        lines
    )


def rows(text: str) -> dict[str, dict[str, str]]:
    return {row.pop("pattern"): row for row in table(text)}


def test_a_cell_says_who_lowers_a_pattern_for_an_engine(install: Install) -> None:
    own = "yield Lowering(engine='quick', pattern='linear', emit=print)"
    install("fxq-quick", engine(hook("fxq_lowerings", own)))
    install("fxq-third", LOWERED)
    result = fxq("patterns")
    assert (result.exit_code, result.stderr) == (0, "")
    found = rows(result.stdout)
    assert found["celu"] == {"quick": "fxq-third 1.0 (swift)", "reference": f"{CORE} (*)"}
    assert found["linear"] == {"quick": "fxq-quick 1.0", "reference": CORE}
    assert found["flatten"] == {"quick": "", "reference": f"{CORE} (*)"}


def test_one_engine_alone(install: Install) -> None:
    install("fxq-quick", engine(hook("fxq_lowerings", "yield Lowering(engine='swift', pattern='*', emit=print)")))
    result = fxq("patterns", "--engine", "quick")
    assert result.exit_code == 0
    found = rows(result.stdout)
    assert found["flatten"] == {"quick": "fxq-quick 1.0 (swift, *)"}
    assert "*" not in found


def test_a_lowering_for_an_engine_that_is_not_installed_is_dormant(install: Install) -> None:
    install("fxq-third", LOWERED)
    result = fxq("patterns")
    assert (result.exit_code, result.stderr) == (0, "")
    found = rows(result.stdout)
    assert found["celu"] == {"reference": f"{CORE} (*)", "[swift]": "fxq-third 1.0"}
    assert found["flatten"] == {"reference": f"{CORE} (*)", "[swift]": ""}
    note = "[swift]: dormant, since no loaded plugin provides an engine or a family 'swift'\n"
    assert result.stdout.endswith(f"\n\n{note}")
    alone = fxq("patterns", "--engine", "swift")
    assert alone.exit_code == 0
    assert rows(alone.stdout)["celu"] == {"[swift]": "fxq-third 1.0"}
    assert alone.stdout.endswith(f"\n\n{note}")


def test_one_for_every_pattern_has_a_row_of_its_own(install: Install) -> None:
    install("fxq-every", hook("fxq_lowerings", "yield Lowering(engine='swift', pattern='*', emit=print)"))
    assert rows(fxq("patterns").stdout)["*"] == {"reference": "", "[swift]": "fxq-every 1.0"}


def test_a_terminal_without_room_has_a_column_for_all_engines(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        install(f"fxq-{name}", hook("fxq_engines", f"yield dataclasses.replace(REFERENCE, name={name!r})"))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    text = re.sub("\x1b\\[[0-9;]*m", "", fxq("patterns").stdout)
    assert text.splitlines()[0].split() == ["pattern", "lowered", "by"]
    row = re.search(r"^(flatten  .*\n(?: .*\n)*)", text, re.MULTILINE)
    assert row is not None
    assert " ".join(row[1].split()) == f"flatten {CORE} (reference, *): one, two; {CORE} (*): reference"


def test_an_engine_that_nobody_provides_is_an_error() -> None:
    assert fails(fxq("patterns", "--engine", "nonsense")) == (
        "error: engine 'nonsense' is claimed by no installed plugin; known engines: 'reference'; "
        "others come with the plugin that brings them\n"
    )
