"""A worker process, seen from outside."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BURST_SECONDS = 120


class WorkerError(Exception):
    """Why a worker has no answer, in one line."""


class Process:
    """A system in a process of its own; waits and uses no time between requests.

    Args:
        threads: how many each runtime may use.
        folders: where else to import from.
    """

    def __init__(self, threads: int, folders: tuple[Path, ...] = ()) -> None:
        path = [str(ROOT / "benchmarks"), str(ROOT / "tests"), *map(str, folders)]
        inherited = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "speed.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment(threads), "PYTHONPATH": os.pathsep.join([*path, *inherited])},
        )
        assert self._process.stdout is not None
        self._answers = self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)

    def ask(self, do: str, *, seconds: float = BURST_SECONDS, **arguments: Any) -> Any:
        """The answer to one request.

        Raises:
            WorkerError: the worker says that it can't, has died, or took longer; it is gone in the last two cases.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._death()) from None
        answer = json.loads(self._line(do, time.monotonic() + seconds, seconds))
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["ok"]

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._selector.close()

    def _line(self, do: str, end: float, seconds: float) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            if not self._selector.select(max(0.0, end - time.monotonic())):
                self._process.kill()
                raise WorkerError(f"took longer than {seconds:g} s to {do}")
            piece = os.read(self._answers, 1 << 16)
            if not piece:
                raise WorkerError(self._death())
            line += piece
        return line

    def _death(self) -> str:
        code = self._process.wait()
        return f"the process died of {signal.Signals(-code).name}" if code < 0 else f"the process ended with {code}"


def environment(threads: int) -> dict[str, str]:
    """So many threads; how they wait is left to each runtime, as where it serves."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TQDM_DISABLE": "1",
    }
