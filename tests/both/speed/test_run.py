"""One network on several systems: what they give, and who can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from speed import rounds
from speed.models import STACKS
from speed.run import Runner
from speed.systems import BASELINE, System

HERE = Path(__file__).parent


def test_systems_that_run_are_compared_and_others_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "BURST_MS", 0.0)
    said: list[str] = []
    systems = {
        BASELINE: System("fake_systems:build"),
        "partly": System("fake_systems:build", {"fails_at": 2}),
        "never": System("fake_systems:raising"),
        "dead": System("fake_systems:dying"),
    }
    runner = Runner(threads=1, rounds=2, say=said.append, folders=(HERE,))
    found = runner.measure("stack5", STACKS["stack5"], systems, (1, 2))
    assert found.size == {"gmac": 0.009, "layers": 5}
    assert found.failures == {
        "partly": "ValueError: can't open file.bin",
        "never": "NotImplementedError: no kernel",
        "dead": "the process died of SIGSEGV",
    }
    assert {batch: set(cells) for batch, cells in found.batches.items()} == {"1": {BASELINE, "partly"}, "2": {BASELINE}}
    assert found.batches["1"][BASELINE]["ratio"] == {"median": 1, "q1": 1, "q3": 1, "n": 2}
    assert {"first_ms", "resident_mb", "disk_mb"} < set(found.built[BASELINE])
    assert "stack5: never can't: NotImplementedError: no kernel" in said
