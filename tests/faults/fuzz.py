"""Throw hostile modules, tensors and states at quantize() and at what it gives: ``python fuzz.py [seconds] [seed]``.

The cases run in a child process that says which one it begins; a child that dies or hangs is a finding, as is an error
that is neither fxq's nor the float model's. Findings are printed with their seeds; ``fuzz.py case SEED`` runs just one.
"""

from __future__ import annotations

import os
import queue
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

PATIENCE = 120.0


def child(first: int) -> None:
    """Run one case after the other, forever."""
    registry, engines = _prepared()
    for seed in range(first, sys.maxsize):
        print(f"begin {seed}", flush=True)
        _run(seed, registry, engines)


def _prepared():  # type: ignore[no-untyped-def]
    import torch

    import fxq_core as fxq

    torch.set_num_threads(1)
    registry = fxq.load_plugins()
    return registry, sorted(name for name, engine in registry.engines.items() if engine.reject() is None)


def _run(seed, registry, engines):  # type: ignore[no-untyped-def]
    import hostile
    import torch

    r = random.Random(seed)
    torch.manual_seed(seed)
    before = torch.backends.quantized.engine
    engine, case = r.choice(engines), r.choice(hostile.CASES)
    if case is hostile.layers and engine == "reference":
        return
    try:
        case(r, engine, registry)
    except hostile.Finding as finding:
        print(f"finding {seed} {case.__name__} on {engine}: {' '.join(str(finding).split())[:300]}", flush=True)
    if torch.backends.quantized.engine != before:
        print(f"finding {seed}: torch's engine was left at {torch.backends.quantized.engine}", flush=True)


def fuzz(seconds: float, seed: int) -> tuple[int, list[str]]:
    """How many cases ran in so many seconds, and what was found."""
    end, first, findings = time.monotonic() + seconds, seed, []
    while time.monotonic() < end:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "child", str(first)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        lines: queue.Queue[str | None] = queue.Queue()
        pump = threading.Thread(target=_pump, args=(process, lines))
        pump.start()
        try:
            while time.monotonic() < end:
                line = lines.get(timeout=PATIENCE)
                if line is None:
                    findings.append(f"case {first} ended the process with {process.wait()}")
                    break
                word, _, rest = line.strip().partition(" ")
                if word == "begin":
                    first = int(rest)
                else:
                    findings.append(f"case {rest}")
        except queue.Empty:
            findings.append(f"case {first} hung for {PATIENCE:.0f} seconds")
        process.kill()
        process.wait()
        pump.join()
        first += 1
    return first - seed, findings


def _pump(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    arguments = sys.argv[1:]
    if arguments[:1] == ["child"]:
        child(int(arguments[1]))
    elif arguments[:1] == ["case"]:
        _run(int(arguments[1]), *_prepared())
    else:
        ran, found = fuzz(float(arguments[0]) if arguments else 600.0, int(arguments[1]) if arguments[1:] else 0)
        print(f"{ran} cases, {len(found)} findings", *found, sep="\n")
        sys.exit(bool(found))
