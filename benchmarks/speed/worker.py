"""A process with one system in it, which answers requests: a line of JSON each, in and out.

    {"do": "build", "builder", "options", "model", "weights", "threads"}   -> seconds and megabytes of the build
    {"do": "bind", "batch"}                     -> ms of the first call, and of a later one
    {"do": "burst", "batch", "calls", "warm"}   -> the median of the calls, in ms
    {"do": "free"}                              -> what letting the network go gave back, in MB

Between requests it waits for the pipe. An answer is {"ok": ...} or {"error": one line}.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, TextIO

import torch

from speed import memory
from speed.models import MODELS, STACKS
from speed.systems.built import Built, Stages

CALIBRATION = {"number": 4, "size": 8, "seed": 1}
LONGEST = 140


class Worker:
    """One method per request."""

    def __init__(self) -> None:
        self._built: Built | None = None
        self._inputs: Callable[[int], torch.Tensor]
        self._bound: dict[int, Callable[[], Any]] = {}
        # bytes of the inputs, which are none of the network's
        self._held = 0

    def build(self, builder: str, options: dict[str, Any], model: str, weights: str, threads: int) -> dict[str, float]:
        torch.set_num_threads(threads)
        entry = {**MODELS, **STACKS}[model]
        network = entry.build().eval()
        network.load_state_dict(torch.load(weights))
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        batches = entry.batches(**CALIBRATION)
        network(batches[0][:1])
        module, _, function = builder.partition(":")
        stages = Stages()
        self._built = getattr(importlib.import_module(module), function)(network, batches, stages, **options)
        self._inputs = lambda batch: entry.batches(1, batch, seed=2)[0]
        return {**stages.found, "disk_mb": self._built.disk / 1e6}

    def bind(self, batch: int) -> dict[str, float]:
        assert self._built is not None
        inputs = self._inputs(batch)
        self._held += inputs.nbytes
        self._bound[batch] = self._built.bind(inputs)
        return {"first_ms": self.burst(batch, 1, warm=False), "ms": self.burst(batch, 2, warm=True)}

    def burst(self, batch: int, calls: int, warm: bool) -> float:
        run, times = self._bound[batch], []
        if warm:
            run()
        for _ in range(calls):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times)

    def free(self) -> float:
        before = memory.settle()
        self._built = None
        self._bound.clear()
        return (before - memory.settle() - self._held) / 1e6


def one_line(error: BaseException) -> str:
    """Its type and the first line of what it says, without the folders of this machine."""
    lines = str(error).strip().splitlines() or [""]
    text = re.sub(r"(?:/[\w.+-]+)+/", "", f"{type(error).__name__}: {lines[0].strip()}".removesuffix(": "))
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def serve(requests: TextIO, answers: TextIO) -> None:
    worker = Worker()
    for line in requests:
        request = json.loads(line)
        try:
            with torch.no_grad():
                answer = {"ok": getattr(worker, request.pop("do"))(**request)}
        except Exception as error:
            answer = {"error": one_line(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    warnings.simplefilter("ignore")
    # what a system prints must not end up among the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
