"""Systems take turns: each round has all of them, and begins with another one."""

from __future__ import annotations

from typing import Any

import pytest

from speed import rounds
from speed.process import WorkerError
from speed.rounds import Burst, burst, take_turns


class Fake:
    """Answers at once, and writes down that it was asked."""

    def __init__(self, name: str, log: list[tuple[str, Any]], fails_at: int | None = None) -> None:
        self.name, self.log, self.fails_at, self.asked = name, log, fails_at, 0

    def ask(self, do: str, **arguments: Any) -> float:
        assert do == "burst"
        self.log.append((self.name, arguments))
        self.asked += 1
        if self.asked == self.fails_at:
            raise WorkerError("gone")
        return float(self.asked)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PAUSE_SECONDS", 0)


def test_every_round_begins_with_another_system() -> None:
    log: list[tuple[str, Any]] = []
    processes: Any = {name: Fake(name, log) for name in "abc"}
    times, failures = take_turns(processes, dict.fromkeys("abc", 1.0), batch=4, rounds=4)
    assert "".join(name for name, _ in log) == "abc" + "bca" + "cab" + "abc"
    assert times == {name: [1, 2, 3, 4] for name in "abc"}
    assert failures == {}
    assert log[0][1] == {"batch": 4, "calls": 50, "warm": True}


def test_a_slow_system_sits_rounds_out() -> None:
    processes: Any = {"fast": Fake("fast", []), "slow": Fake("slow", [])}
    times, _ = take_turns(processes, {"fast": 1.0, "slow": 60_000.0}, batch=1, rounds=5)
    assert times == {"fast": [1, 2, 3, 4, 5], "slow": [1, 2, 3, None, None]}


def test_a_system_that_fails_is_left_out() -> None:
    processes: Any = {"good": Fake("good", []), "bad": Fake("bad", [], fails_at=2)}
    times, failures = take_turns(processes, {"good": 1.0, "bad": 1.0}, batch=1, rounds=3)
    assert times == {"good": [1, 2, 3]}
    assert failures == {"bad": "gone"}
    assert processes["bad"].asked == 2


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (0.01, Burst(50, True, 15)),
        (10.0, Burst(10, True, 15)),
        (90.0, Burst(2, True, 15)),
        (500.0, Burst(1, False, 8)),
        (9000.0, Burst(1, False, 3)),
    ],
)
def test_a_burst_fits_the_time_of_a_call(ms: float, expected: Burst) -> None:
    assert burst(ms, 15) == expected


def test_a_slow_system_is_not_asked_more_often_than_the_others() -> None:
    assert burst(9000.0, 2).rounds == 2
