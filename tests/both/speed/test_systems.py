"""Systems that need torch alone compute what float does, about; the peers are imported by workers only."""

from __future__ import annotations

import importlib
import warnings
from importlib.util import find_spec
from typing import Any

import pytest
import torch

import fxq_core as fxq

from speed.machine import FLAGS, facts
from speed.models import STACKS, settled
from speed.systems import BASELINE, SYSTEMS
from speed.systems.built import Stages

HERE = [name for name in SYSTEMS if name.startswith(("float", "fxq", "torch.ao")) and "openvino" not in name]
STAGES = {"quantize_s", "calibrate_s", "calibrate_peak_mb"}


def test_every_engine_and_every_peer_has_an_entry() -> None:
    expected = ["float", "float-channels-last", "fxq-x86", "fxq-fbgemm", "fxq-onednn", "fxq-qnnpack"]
    expected += ["fxq-x86-tuned"] * hasattr(fxq, "tune")
    expected += ["fxq-openvino"] * bool(find_spec("fxq_openvino"))
    expected += ["torch.ao-x86", "torch.ao-qnnpack", "torchao-inductor", "onnxruntime", "openvino"]
    assert list(SYSTEMS) == expected
    assert BASELINE in SYSTEMS


@pytest.mark.parametrize("name", HERE)
def test_a_system_computes_what_float_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = STACKS["stack5"]
    network = stack.build().eval()
    network.load_state_dict(settled(stack))
    batches = stack.batches(4, 4, seed=1)
    (x,) = stack.batches(1, 2, seed=2)
    before = torch.backends.quantized.engine
    stages = Stages()
    with torch.no_grad(), warnings.catch_warnings():
        # torch.ao says of itself that it is deprecated
        warnings.simplefilter("ignore")
        expected = network(x)
        try:
            built = built_by(name, network, batches, stages)
            found = built.bind(x)()
        finally:
            torch.backends.quantized.engine = before
    assert set(stages.found) == (STAGES - {"quantize_s"} if name.startswith("float") else STAGES)
    error = (found - expected).square().mean() / expected.square().mean()
    assert error < (1e-10 if name.startswith("float") else 0.05)
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert (4 if name.startswith("float") else 1) * weights < built.disk


def built_by(name: str, *arguments: Any) -> Any:
    module, _, function = SYSTEMS[name].builder.partition(":")
    return getattr(importlib.import_module(module), function)(*arguments, **SYSTEMS[name].options)


def test_the_facts_of_the_machine_are_no_secrets() -> None:
    found = facts()
    assert list(found) == ["cpu", "flags", "cores", "memory_gb", "system", "python", "versions"]
    assert set(found["flags"]) <= set(FLAGS)
    assert found["versions"]["torch"] == torch.__version__
