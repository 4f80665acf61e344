"""A worker answers one request after the other, and its failures end up as one line, whatever they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from speed.models import STACKS, settled
from speed.process import Process, WorkerError, environment
from speed.worker import LONGEST, one_line

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(settled(STACKS["stack5"]), file)
    return str(file)


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process(threads=1, folders=(HERE,))
    yield process
    process.stop()


def request(weights: str, builder: str, **options: int) -> dict[str, object]:
    return {"builder": builder, "options": options, "model": "stack5", "weights": weights, "threads": 1}


def test_a_network_is_built_bound_timed_and_let_go(process: Process, weights: str) -> None:
    built = process.ask("build", **request(weights, "fake_systems:build"))
    assert set(built) == {"quantize_s", "calibrate_s", "calibrate_peak_mb", "disk_mb"}
    assert built["disk_mb"] == 2
    assert built["quantize_s"] >= built["calibrate_s"] > 0
    assert built["calibrate_peak_mb"] >= 0
    for batch in (1, 2):
        bound = process.ask("bind", batch=batch)
        assert set(bound) == {"first_ms", "ms"}
        assert min(bound.values()) > 0
        assert process.ask("burst", batch=batch, calls=3, warm=True) > 0
    assert isinstance(process.ask("free"), float)


def test_a_worker_goes_on_after_an_error(process: Process, weights: str) -> None:
    process.ask("build", **request(weights, "fake_systems:build", fails_at=2))
    with pytest.raises(WorkerError, match=r"^ValueError: can't open file\.bin$"):
        process.ask("bind", batch=2)
    assert process.ask("bind", batch=1)["ms"] > 0


@pytest.mark.parametrize(
    ("builder", "reason"),
    [
        ("fake_systems:raising", "NotImplementedError: no kernel"),
        ("fake_systems:dying", "the process died of SIGSEGV"),
        ("fake_systems:leaving", "the process ended with 3"),
        ("no_such_peer:build", "ModuleNotFoundError: No module named 'no_such_peer'"),
    ],
)
def test_a_failure_is_one_line(process: Process, weights: str, builder: str, reason: str) -> None:
    with pytest.raises(WorkerError) as caught:
        process.ask("build", **request(weights, builder))
    assert str(caught.value) == reason


def test_a_worker_that_takes_too_long_is_gone(process: Process, weights: str) -> None:
    with pytest.raises(WorkerError, match=r"^took longer than 0\.1 s to build$"):
        process.ask("build", seconds=0.1, **request(weights, "fake_systems:sleeping"))
    with pytest.raises(WorkerError, match=r"^the process died of SIGKILL$"):
        process.ask("burst", batch=1, calls=1, warm=False)


def test_a_long_message_is_cut() -> None:
    assert one_line(ValueError("x" * 500)) == f"ValueError: {'x' * (LONGEST - 15)}..."
    assert one_line(ValueError()) == "ValueError"


def test_a_worker_has_so_many_threads_and_else_what_is_the_default() -> None:
    found = environment(2)
    assert found == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "TQDM_DISABLE": "1"}
    assert not set(found) & {"PATH", "PYTHONPATH"}
    assert all(isinstance(value, str) for value in {**os.environ, **found}.values())
