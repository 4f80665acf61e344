"""OpenVINO op by op beside the reference engine: at most one code off, in every sample, network and gallery entry."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import fxq_core as fxq
from fxq_core.capture.calls import as_arguments
from fxq_core.testing.agreement import Agreement
from fxq_core.testing.networks import NETWORKS
from fxq_core.testing.samples import SAMPLES

from gallery import GALLERY, trained
from support.steps import stepwise


def agreement(model: torch.nn.Module, batches: list[object], registry: fxq.Registry) -> Agreement:
    quantizer = fxq.Quantizer(model, batches[0], "openvino", registry=registry).calibrate(batches)
    quantizer.plan = dataclasses.replace(quantizer.plan, engine=stepwise(registry))
    return Agreement(quantizer)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", [*SAMPLES, *NETWORKS])
def test_samples_and_networks(name: str, registry: fxq.Registry) -> None:
    subject = {**SAMPLES, **NETWORKS}[name]
    found = agreement(subject.model(), [subject.batch(16, seed) for seed in range(3)], registry)
    differences = found.differences(subject.batch(3, 100))
    assert differences
    assert {node: str(apart) for node, apart in differences.items() if apart.codes > 1} == {}


@pytest.mark.parametrize("name", GALLERY)
def test_the_gallery(name: str, registry: fxq.Registry) -> None:
    entry = GALLERY[name]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        found = agreement(trained(entry), [entry.inputs(8) for _ in range(4)], registry)
        args, kwargs = as_arguments(entry.inputs(3))
        differences = found.differences(*args, **kwargs)
    assert differences
    assert {node: str(apart) for node, apart in differences.items() if apart.codes > 1} == {}
