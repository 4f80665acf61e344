"""Every network of the gallery: one call of OpenVINO for each part, and as close to float as the reference engine."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import fxq_core as fxq
from fxq_core.quantized_module import QuantizedModule
from fxq_openvino.region import CompiledRegion

from gallery import GALLERY
from gallery.statistics import call
from support.coverage import measure, sqnr


@pytest.mark.parametrize("name", GALLERY)
def test_a_network(name: str, registry: fxq.Registry) -> None:
    found, reference = (measure(name, engine, registry) for engine in ("openvino", "reference"))
    assert found.floats == {}
    assert found.sqnr > reference.sqnr - 0.5
    parts = [module for module in found.qmodel.modules() if isinstance(module, QuantizedModule)]
    for part in parts:
        assert sum(isinstance(module, CompiledRegion) for module in part.children()) == 1
    seen: list[tuple[CompiledRegion, tuple[Any, ...], Any]] = []
    for module in found.qmodel.modules():
        if isinstance(module, CompiledRegion):
            module.register_forward_hook(lambda *call: seen.append(call))
    for batch in (1, 5):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(batch)
            call(found.qmodel, GALLERY[name].inputs(batch))
    for region, (qparams, *inputs), output in seen:
        with torch.no_grad():
            # the same ops, one by one: a number between two codes may go to the other one
            assert sqnr(region._in_torch(qparams, inputs), output) > 30
