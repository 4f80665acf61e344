"""``fxq plugins``: one row per plugin, loaded, failed or left out; names and tracebacks for the asking."""

from __future__ import annotations

import re
from collections.abc import Callable

import importlib_metadata
import pytest

from support.cli import fxq, table
from support.distributions import hook

Install = Callable[..., None]
VERSION = importlib_metadata.version("fxq-core")
SMALL = hook("fxq_patterns", "yield Pattern('celu', nn.CELU)", "yield Pattern('selu', nn.SELU)") + hook(
    "fxq_lowerings",
    "yield Lowering(engine='tiny', pattern='celu', emit=print)",
    "yield Lowering(engine='tiny', pattern='selu', emit=print)",
    "yield Lowering(engine='torch', pattern='celu', emit=print)",
    "yield Lowering(engine='swift', pattern='celu', emit=print)",
    "yield Lowering(engine='swift', pattern='selu', emit=print)",
)


def rows(text: str) -> dict[str, tuple[str, ...]]:
    return {row.pop("plugin"): tuple(row.values()) for row in table(text)}


def test_every_plugin_has_a_row(install: Install) -> None:
    install("fxq-small", f"FXQ_API = '>=1,<2'\n{SMALL}", version="1.2")
    install("fxq-broken", "raise SystemExit(3)")
    install("fxq-idle", hook("fxq_observers", "return ()"))
    result = fxq("plugins")
    assert result.exit_code == 0
    found = rows(result.stdout)
    core = found.pop("fxq-core")
    assert found == {
        "fxq-broken": ("1.0", "broken", "", "failed", "SystemExit: 3"),
        "fxq-idle": ("1.0", "idle", "", "loaded", "nothing"),
        "fxq-small": ("1.2", "small", ">=1,<2", "loaded", "2 patterns, 5 lowerings"),
    }
    assert core[:1] + core[2:4] == (VERSION, "", "loaded")
    assert re.fullmatch(r"1 engine, \d+ patterns, 5 observers, \d+ lowerings", core[4])
    assert result.stderr == (
        "warning: plugin fxq-broken 1.0 (entry point 'broken') failed to load: SystemExit: 3; "
        "everything else works without it\n"
    )
    assert "Traceback" not in result.stdout


def test_one_that_was_left_out_has_a_row_with_the_reason(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fxq-small", SMALL)
    monkeypatch.setenv("FXQ_DISABLE_PLUGINS", "1")
    result = fxq("plugins")
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(result.stdout)["fxq-small"] == ("1.0", "small", "", "left out", "FXQ_DISABLE_PLUGINS is set")


def test_verbose_names_everything_with_load_times_and_tracebacks(install: Install) -> None:
    install("fxq-small", SMALL)
    install("fxq-broken", "def fail():\n    raise ImportError('no kernel')\nfail()")
    text = fxq("plugins", "-v").stdout
    assert rows(text)["fxq-small"][3:] == ("loaded", "2 patterns, 5 lowerings")
    small, broken = (text[text.index(f"\n\n{who}: ") + 2 :] for who in ("fxq-small 1.0", "fxq-broken 1.0"))
    assert re.match(
        r"fxq-small 1.0: loaded in \d+\.\d{3} s\n"
        r"  patterns: celu, selu\n"
        r"  lowerings for tiny, swift: celu, selu\n"
        r"  lowerings for torch: celu\n\n",
        small,
    )
    lines = broken.splitlines()
    assert lines[:2] == ["fxq-broken 1.0: ImportError: no kernel", "  Traceback (most recent call last):"]
    assert lines[-2:] == ["      raise ImportError('no kernel')", "  ImportError: no kernel"]
    assert re.search(r"\n    File \".*fxq_broken\.py\", line 2, in fail\n", broken)


def test_a_slow_import_can_be_seen(install: Install) -> None:
    install("fxq-slow", f"import time\ntime.sleep(0.2)\n{SMALL}")
    seconds = re.search(r"^fxq-slow 1.0: loaded in (\d+\.\d+) s$", fxq("plugins", "-v").stdout, re.MULTILINE)
    assert seconds is not None
    assert float(seconds[1]) >= 0.2
