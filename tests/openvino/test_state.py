"""Weights are plain tensors where they were; what is compiled from them is made again where it is missing."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_openvino.region import CompiledRegion

from support.processes import WITHOUT_NUMPY

X = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(9))

BUILD = """
import torch
from torch import nn
import fxq_core as fxq

def quantized(seed):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten()
    model = nn.Sequential(*layers, nn.LayerNorm(800), nn.Linear(800, 5)).eval()
    return fxq.quantize(model, [torch.randn(32, 3, 12, 12) * (seed + 1)], "openvino")
"""


def quantized(seed: int = 0) -> nn.Module:
    namespace: dict[str, object] = {}
    exec(BUILD, namespace)
    return namespace["quantized"](seed)


def outputs(module: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return module(X)


def region(module: nn.Module) -> CompiledRegion:
    (found,) = (part for part in module.modules() if isinstance(part, CompiledRegion))
    return found


def test_the_state_is_that_of_the_reference_engine() -> None:
    lowered = quantized()
    state = lowered.state_dict()
    assert state["0.weight"].dtype is torch.int8
    assert {tensor.dtype for tensor in state.values()} == {torch.int8, torch.float32, torch.int32}
    assert not [name for name in state if "region" in name]


def test_any_calibration_loads_it_also_after_a_call() -> None:
    lowered, other = quantized(), quantized(1)
    assert not torch.equal(outputs(other), outputs(lowered))
    file = io.BytesIO()
    torch.save(lowered.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(outputs(other), outputs(lowered))
    assert torch.equal(outputs(copy.deepcopy(other)), outputs(lowered))


def test_loading_one_layer_alone_is_noticed() -> None:
    lowered, other = quantized(), quantized(1)
    before = outputs(lowered)
    lowered.get_submodule("6").load_state_dict(other.get_submodule("6").state_dict())
    assert not torch.equal(outputs(lowered), before)


def test_a_copy_is_a_copy() -> None:
    lowered = quantized()
    before = outputs(lowered)
    for copied in (copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):
        assert torch.equal(outputs(copied), before)
        assert region(copied).owner == (copied,)
        copied.load_state_dict(quantized(1).state_dict())
        assert not torch.equal(outputs(copied), before)
        assert torch.equal(outputs(lowered), before)


def test_a_pickle_holds_no_compiled_model() -> None:
    lowered = quantized()
    fresh = len(pickle.dumps(lowered))
    outputs(lowered)
    assert len(pickle.dumps(lowered)) == fresh


def test_another_process_gives_identical_outputs(tmp_path: Path) -> None:
    lowered = quantized()
    torch.save(lowered.state_dict(), tmp_path / "state.pt")
    torch.save(X, tmp_path / "x.pt")
    torch.save(lowered, tmp_path / "model.pt")
    code = f"""{BUILD}
lowered = quantized(1)
lowered.load_state_dict(torch.load("state.pt", weights_only=True), strict=True)
x = torch.load("x.pt")
with torch.no_grad():
    torch.save([lowered(x), torch.load("model.pt", weights_only=False)(x)], "y.pt")
"""
    command = [sys.executable, "-W", "error", "-W", WITHOUT_NUMPY, "-c", code]
    subprocess.run(command, check=True, cwd=tmp_path)
    for result in torch.load(tmp_path / "y.pt"):
        assert torch.equal(result, outputs(lowered))


def test_changed_dtypes_are_refused() -> None:
    lowered = quantized().half()
    with pytest.raises(fxq.InputError) as caught:
        lowered(X)
    assert str(caught.value) == (
        "ReferenceLayer holds an int8 weight with float32 scales and bias, but their dtypes were changed; "
        "convert the float model before it is quantized, not the quantized one"
    )
