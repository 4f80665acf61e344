"""The engine: installed, found working, chosen only by name; and what it says where OpenVINO is not what it needs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_openvino import engine as plugin, probe, runtime

from support.engines import NAMED, usable_engines
from support.processes import WITHOUT_NUMPY


def test_this_cell_has_the_engine_it_is_for(registry: fxq.Registry) -> None:
    assert set(NAMED) <= set(usable_engines())
    assert "openvino" in usable_engines()
    provider = registry.engines["openvino"].provider
    assert (provider.dist, provider.version) == ("fxq-openvino", "0.1.0")


def test_importing_the_plugin_imports_no_openvino() -> None:
    code = "import sys, fxq_openvino; assert 'openvino' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-W", WITHOUT_NUMPY, "-c", code], check=True)


def test_it_is_never_chosen_by_itself(registry: fxq.Registry) -> None:
    alone = fxq.load_plugins(block=tuple({"fxq-fbgemm", "fxq-qnnpack"} & {p.provider.dist for p in registry.plugins}))
    with pytest.raises(fxq.EngineError, match=r"choose one of 'openvino' with engine=\.\.\."):
        fxq.quantize(nn.Sequential(nn.Linear(4, 4)).eval(), [torch.rand(2, 4)], registry=alone)


def test_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert plugin.reject() == "openvino is not installed; pip install openvino"


def test_with_an_old_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(__version__="2023.0.1"))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == plugin.NEEDED else found("torch"))
    assert plugin.reject() == "openvino 2023.0.1 is too old, it has no opset 15; pip install -U openvino"


def test_without_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "core", lambda: SimpleNamespace(available_devices=["GPU", "NPU"]))
    assert plugin.reject() == (
        "openvino has no CPU device here, of these: GPU, NPU; install a build of it for this processor"
    )


def test_with_a_broken_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("no plugins.xml\nat all")

    monkeypatch.setattr(runtime, "core", broken)
    assert plugin.reject() == "openvino can't be used: RuntimeError: no plugins.xml"


def test_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin.reject() is None
    monkeypatch.setattr(probe, "WEIGHT", (3, -5, 126, -1))
    assert plugin.reject() == "its int8 convolution gives wrong numbers"


def test_numbers_are_not_rounded_to_bfloat16() -> None:
    assert runtime.CONFIG["INFERENCE_PRECISION_HINT"] == "f32"
