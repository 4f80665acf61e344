"""What a quantized network is worth, against its float original."""

from __future__ import annotations

import io
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.benchmark import Timer

if TYPE_CHECKING:
    from data import Dataset

LATENCY_BATCH = 16
ROUNDS = 15
SECONDS_PER_ROUND = 0.02


@dataclass(frozen=True, slots=True)
class Quality:
    """Accuracies in percent of the test images, and the signal-to-quantization-noise ratio of the logits in dB."""

    float_accuracy: float
    int8_accuracy: float
    sqnr: float


def quality(model: nn.Module, qmodel: nn.Module, data: Dataset) -> Quality:
    with torch.no_grad():
        expected, found = model(data.test), qmodel(data.test)
    right = [(logits.argmax(1) == data.test_labels).double().mean().item() * 100 for logits in (expected, found)]
    ratio = expected.double().square().sum() / (expected - found).double().square().sum()
    return Quality(*right, 10 * torch.log10(ratio).item())


def size(model: nn.Module) -> int:
    """What ``torch.save`` makes of the model's state dict, in bytes."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.tell()


def speedup(model: nn.Module, qmodel: nn.Module, data: Dataset) -> float:
    """Median latency of the float model over that of the int8 one, on ``LATENCY_BATCH`` images.

    The two take turns, so that whatever else the machine does meets both.
    """
    images = data.test[:LATENCY_BATCH]
    timers = [Timer("model(images)", globals={"model": m, "images": images}) for m in (model, qmodel)]
    with torch.no_grad():
        counts = [max(1, round(SECONDS_PER_ROUND / timer.timeit(3).mean)) for timer in timers]
        rounds = [[t.timeit(n).mean for t, n in zip(timers, counts, strict=True)] for _ in range(ROUNDS)]
    before, after = map(statistics.median, zip(*rounds, strict=True))
    return before / after
