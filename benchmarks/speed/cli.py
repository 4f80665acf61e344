"""What is asked for, and what becomes of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speed.machine import facts
from speed.models import MODELS, STACKS
from speed.page import write
from speed.run import Runner
from speed.systems import BASELINE, SYSTEMS
from speed.tables import speed

LATEST = Path(__file__).resolve().parent / "latest.json"
THREADS = 2
ROUNDS = 9
BATCHES = (1, 16)
QUICK_MODELS = ("resnet18", "mobilenet_v2", "shufflenet_v2")
QUICK_ROUNDS = 5
# cost as depth and batch grow
GROWTH_SYSTEMS = ("float", "fxq-x86", "torch.ao-x86", "onnxruntime", "openvino")
GROWTH_MODEL = "mobilenet_v2"
GROWTH_BATCHES = (1, 2, 4, 8, 16, 32)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The parsed command line; ``whole`` says that nothing was left out."""
    parser = argparse.ArgumentParser(
        "speed", description=f"Time every system side by side; a whole run writes {LATEST.name}."
    )
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK_MODELS)}, batch 1, few rounds")
    parser.add_argument("--models", nargs="+", choices=MODELS, metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="SYSTEM", help=", ".join(SYSTEMS))
    parser.add_argument("--batches", nargs="+", type=positive, metavar="N", help="batch sizes")
    parser.add_argument("--rounds", type=positive, metavar="N", help="how often each system has its turn")
    parser.add_argument("--growth", action="store_true", help="also depth and batch, which a partial run leaves out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here, after each network")
    parser.add_argument(
        "--page", action="store_true", help=f"measure nothing, write docs/performance.md of {LATEST.name}"
    )
    found = parser.parse_args(given)
    found.whole = not (found.quick or found.models or found.systems or found.batches or found.rounds or found.page)
    found.growth = found.growth or found.whole
    found.models = found.models or list(QUICK_MODELS if found.quick else MODELS)
    # what all others are compared with
    found.systems = [system for system in SYSTEMS if not found.systems or system in {*found.systems, BASELINE}]
    found.batches = found.batches or ([1] if found.quick else list(BATCHES))
    found.rounds = found.rounds or (QUICK_ROUNDS if found.quick else ROUNDS)
    return found


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """The results, as they stand in the JSON."""
    runner = Runner(THREADS, asked.rounds)
    systems = {name: SYSTEMS[name] for name in asked.systems}
    results: dict[str, Any] = {
        "machine": facts(),
        "settings": {
            "whole": asked.whole,
            "threads": THREADS,
            "rounds": asked.rounds,
            "baseline": BASELINE,
            "systems": asked.systems,
        },
        "models": {},
        "depth": {},
        "batch": {},
    }
    growing = {name: system for name, system in systems.items() if name in GROWTH_SYSTEMS}
    jobs = [("models", name, MODELS[name], systems, asked.batches) for name in asked.models]
    if asked.growth:
        jobs += [("depth", name, stack, growing, (1,)) for name, stack in STACKS.items()]
        jobs.append(("batch", GROWTH_MODEL, MODELS[GROWTH_MODEL], growing, GROWTH_BATCHES))
    for number, (part, name, model, chosen, batches) in enumerate(jobs, start=1):
        runner.say(f"[{number}/{len(jobs)}] {model.title}")
        results[part][name] = asdict(runner.measure(name, model, chosen, batches))
        if asked.json:
            save(results, asked.json)
    return results


def save(results: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(results, indent=1) + "\n")


def main(given: Sequence[str] | None = None) -> None:
    asked = arguments(given)
    if asked.page:
        write(json.loads(LATEST.read_text()))
        return
    results = run(asked)
    if asked.whole:
        save(results, LATEST)
        write(results)
    for batch in asked.batches:
        print(f"\nbatch {batch}\n\n{speed(results, str(batch))}")
