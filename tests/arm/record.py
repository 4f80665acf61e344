"""On this machine: quantize everything, and write down what replay.py needs to do the same and compare."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves
from tqdm import tqdm

import fxq_core as fxq

from subjects import ENGINE, Subject, import_demo, of_the_kit, plain, run

# of the demo's; an emulated CPU takes a second for a few of them
CALIBRATION_BATCHES, TEST_IMAGES, COMPARED = 4, 100, 64


def record(file: Path) -> None:
    """Writes a dict of plain tensors, strings and numbers."""
    torch.set_num_threads(1)
    registry = fxq.load_plugins(strict=True)
    kit = {name: _recorded(subject, registry) for name, subject in tqdm(of_the_kit(registry).items(), unit="model")}
    torch.save({"kit": kit, "demo": _demo(registry), "torch": str(torch.__version__)}, file)


def _recorded(subject: Subject, registry: fxq.Registry) -> dict[str, Any]:
    qmodel, found = _quantized(subject, registry), []

    def look(name: str, value: Any) -> Any:
        found.extend((name, plain(leaf)) for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor))
        return value

    return {
        "float": subject.model.state_dict(),
        "batches": subject.batches,
        "unseen": subject.unseen,
        "state": qmodel.state_dict(),
        "result": run(qmodel, subject.unseen, registry, look),
        "values": found,
    }


def _quantized(subject: Subject, registry: fxq.Registry) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fxq.quantize(subject.model, subject.batches, ENGINE, registry=registry)


def _demo(registry: fxq.Registry) -> dict[str, Any]:
    """The demo's networks, trained, with test images and the quality that they show here."""
    import_demo()
    from cnns import NETWORKS
    from data import digits
    from measure import quality
    from training import train

    every, seed = digits(0), 0
    data = replace(every, test=every.test[:TEST_IMAGES], test_labels=every.test_labels[:TEST_IMAGES])
    found: dict[str, Any] = {"test": data.test, "test_labels": data.test_labels, "networks": {}}
    for name, build in NETWORKS.items():
        model, batches = train(build, data, seed, name), data.calibration()[:CALIBRATION_BATCHES]
        subject = Subject(model, batches, data.test[:COMPARED])
        measured = quality(model, _quantized(subject, registry), data)
        numbers = measured.float_accuracy, measured.int8_accuracy, measured.sqnr
        found["networks"][name] = {**_recorded(subject, registry), "quality": numbers}
    return found
