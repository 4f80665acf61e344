"""Train two small networks, quantize them on every engine that works here, and print what came of it.

Run it with ``python examples/demo``. It fails where int8 loses more than half a point of accuracy.
"""

from __future__ import annotations

import sys

import torch
from torch import nn
from tqdm import tqdm

import fxq_core as fxq
from fxq_core.tables import table

from cnns import NETWORKS
from data import CALIBRATION_BATCH, CALIBRATION_BATCHES, TEST_IMAGES, Dataset, digits
from measure import LATENCY_BATCH, quality, size, speedup
from training import train

SEED = 0
# the promise: int8 loses at most this many percentage points
LOSS = 0.5
REPORTED = "mobilenet"
HEADER = ("network", "engine", "by", "float %", "int8 %", "SQNR dB", "float bytes", "int8 bytes", "speedup")


def usable(registry: fxq.Registry) -> list[fxq.Engine]:
    """The installed engines that can run here; says why the others can't."""
    engines = []
    for engine in registry.engines.values():
        reason = engine.reject()
        if reason is None:
            engines.append(engine)
        else:
            print(f"without engine {engine.name} ({engine.provider}): {reason}")
    return engines


def quantize(model: nn.Module, data: Dataset, engine: str, registry: fxq.Registry, title: str) -> nn.Module:
    batches = data.calibration()
    quantizer = fxq.Quantizer(model, batches[0], engine=engine, registry=registry)
    # quantizer.calibrate(batches) does the same, with a bar that goes away
    for batch in tqdm(batches, desc=f"calibrate {title}", unit="batch"):
        quantizer.observe(batch)
    return quantizer.quantize()


def main() -> str | None:
    """Runs the demo; returns what broke the promise."""
    # enough for networks this small, and then the number of cores does not change what they learn
    torch.set_num_threads(1)
    registry = fxq.load_plugins()
    engines, data = usable(registry), digits(SEED)
    rows, broken, report = [], [], ""
    for name, build in NETWORKS.items():
        model = train(build, data, SEED, name)
        for engine in engines:
            qmodel = quantize(model, data, engine.name, registry, f"{name} for {engine.name}")
            found = quality(model, qmodel, data)
            accuracies = f"{found.float_accuracy:.2f}", f"{found.int8_accuracy:.2f}"
            sizes, ratio = (size(model), size(qmodel)), f"{speedup(model, qmodel, data):.2f}"
            rows.append((name, engine.name, engine.provider, *accuracies, f"{found.sqnr:.1f}", *sizes, ratio))
            # rounded, so that three images of 600 are half a point and no more
            if round(found.float_accuracy - found.int8_accuracy, 6) > LOSS:
                broken.append(f"{name} on {engine.name} from {accuracies[0]} to {accuracies[1]} %")
            if name == REPORTED:
                report = str(fxq.report(qmodel))
    print(f"\n{table(HEADER, rows)}\n")
    print(
        f"accuracy and SQNR on {TEST_IMAGES} test images, calibrated with {CALIBRATION_BATCHES * CALIBRATION_BATCH} "
        f"others; speedup: float latency over int8 latency, batch {LATENCY_BATCH}, one thread\n"
    )
    print(f"What became of each node of the {REPORTED}:\n\n{report}")
    return f"int8 lost more than {LOSS} points: {', '.join(broken)}" if broken else None


if __name__ == "__main__":
    sys.exit(main())
