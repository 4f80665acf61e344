"""Results as a run gives them, small and by hand."""

from __future__ import annotations

from typing import Any

from speed.stats import Spread
from speed.systems import BASELINE


def known(value: float) -> Spread:
    return {"median": value, "q1": value - 0.25, "q3": value + 0.25, "n": 5}


def cell(ms: float, ratio: float) -> dict[str, Spread]:
    return {"ms": known(ms), "ratio": known(ratio)}


def built(factor: float) -> dict[str, float]:
    facts = ("quantize_s", "calibrate_s", "calibrate_peak_mb", "disk_mb", "resident_mb", "first_ms")
    return dict.fromkeys(facts, 10 * factor)


def network(factor: float) -> dict[str, Any]:
    one = {"float": cell(8 * factor, 4), BASELINE: cell(2 * factor, 1), "openvino": cell(factor, 0.5)}
    many = {BASELINE: cell(20 * factor, 1), "float": cell(80 * factor, 4)}
    return {
        "size": {"gmac": 0.5, "layers": 50},
        "built": {"float": built(1), BASELINE: built(0.5), "openvino": built(2)},
        "batches": {"1": one, "16": many},
        "failures": {"torchao-inductor": "ValueError: no"},
    }


def stack(depth: int) -> dict[str, Any]:
    return {
        "size": {"gmac": 0.002 * depth, "layers": depth},
        "built": {"float": {}, BASELINE: {"quantize_s": 0.5 + 0.01 * depth}},
        "batches": {"1": {"float": {"ms": known(0.05 * depth + 1)}, BASELINE: {"ms": known(0.02 * depth + 1)}}},
        "failures": {"openvino": "too deep"},
    }


def results() -> dict[str, Any]:
    return {
        "machine": {
            "cpu": "A CPU",
            "flags": ["avx2", "avx512_vnni"],
            "cores": 2,
            "memory_gb": 24,
            "system": "Linux",
            "python": "3.11.7",
            "versions": {"torch": "2.13.0"},
        },
        "settings": {
            "whole": True,
            "threads": 2,
            "rounds": 5,
            "baseline": BASELINE,
            "systems": ["float", BASELINE, "torchao-inductor", "openvino"],
        },
        "models": {"resnet18": network(1), "mobilenet_v2": network(2)},
        "depth": {f"stack{depth}": stack(depth) for depth in (5, 10)},
        "batch": {"mobilenet_v2": network(1)},
    }
