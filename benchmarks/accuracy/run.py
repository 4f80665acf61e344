"""Train each network, quantize it in each way, measure: one process per core, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

import torch
from torch import nn
from tqdm import tqdm

import fxq_core as fxq

from accuracy import peers
from accuracy.nearest import NearestPlugin
from accuracy.networks import NETWORKS, SEED, data_of
from accuracy.variants import VARIANTS
from measure import Quality, quality
from training import train

ENGINES = ("x86", "fbgemm", "onednn", "qnnpack", "openvino", "reference")


class Cell(NamedTuple):
    """One network, quantized by one of ``VARIANTS`` or a peer for one engine, and what came of it."""

    network: str
    engine: str
    variant: str
    quality: Quality


def engines() -> list[str]:
    """Those of ``ENGINES`` that can run here; says why the others can't."""
    installed, usable = fxq.load_plugins().engines, []
    for name in ENGINES:
        reason = installed[name].reject() if name in installed else "no installed plugin provides it"
        if reason is None:
            usable.append(name)
        else:
            print(f"without engine {name}: {reason}")
    return usable


def trained(name: str) -> tuple[str, nn.Module]:
    """A network, trained with one thread, so that the number of cores does not change what it learns."""
    torch.set_num_threads(1)
    return name, train(NETWORKS[name].build, data_of(name), SEED, name)


def measured(name: str, model: nn.Module, engine: str, variant: str) -> Cell:
    torch.set_num_threads(1)
    data = data_of(name)
    if variant == peers.NAME:
        qmodel = peers.quantized(model, data.calibration(), engine)
    else:
        config, first = VARIANTS[variant]
        registry = fxq.load_plugins(plugins=(NearestPlugin(),))
        with warnings.catch_warnings():
            # that a result is far from float is what the tables say
            warnings.simplefilter("ignore", fxq.AccuracyWarning)
            qmodel = fxq.quantize(model, data.calibration(first), engine, config, registry)
    return Cell(name, engine, variant, quality(model, qmodel, data))


def run(names: Sequence[str]) -> list[Cell]:
    """All cells of some networks, in the order of the tables."""
    usable = engines()
    ways = [(engine, variant) for engine in usable for variant in (*VARIANTS, peers.NAME)]
    ways = [(engine, name) for engine, name in ways if name != peers.NAME or engine in peers.ENGINES]
    # the bars of the processes would overwrite each other; here tqdm has read its settings already
    os.environ["TQDM_DISABLE"] = "1"
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(trained, name) for name in names]
        models = dict(_with_bar(jobs, "train", "network"))
        jobs = [pool.submit(measured, name, models[name], *way) for name in names for way in ways]
        cells = list(_with_bar(jobs, "quantize and measure", "model"))
    return sorted(cells, key=lambda cell: (names.index(cell.network), ways.index((cell.engine, cell.variant))))


def _with_bar(jobs: list, what: str, unit: str) -> Iterator:
    with tqdm(as_completed(jobs), desc=what, total=len(jobs), unit=unit) as done:
        for job in done:
            yield job.result()
