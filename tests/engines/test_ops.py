"""Every op on every engine: the plan uses its pattern, and each op is within one code of the reference engine."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxq_core as fxq

from support.agreement import on_reference, op_errors
from support.samples import SAMPLES, SHAPES, Between


def accepts(model: nn.Module, x: torch.Tensor) -> bool:
    """Whether the float model takes an input: not all of torch's layers take an empty batch."""
    try:
        with torch.no_grad():
            model(x)
    except (RuntimeError, IndexError):
        return False
    return True


# the float layer pads on one side only, and torch says that this costs a copy
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", SAMPLES)
def test_an_op_is_within_one_code_of_the_reference(engine: str, name: str, registry: fxq.Registry) -> None:
    sample = SAMPLES[name]
    torch.manual_seed(0)
    model = Between(sample).eval()
    calibration = [torch.randn(2, 5, *SHAPES[sample.dims]) for _ in range(3)]
    quantizer = fxq.Quantizer(model, calibration[0], engine, registry=registry).calibrate(calibration)
    reference, lowered = on_reference(quantizer), quantizer.quantize()
    mine = [row for row in fxq.report(lowered).rows if row.pattern == sample.pattern]
    assert mine, fxq.report(lowered)
    assert {row.provider for row in mine} == {str(registry.engines[engine].provider)}
    for batch in (1, 3, 0):
        x = torch.randn(batch, 5, *SHAPES[sample.dims])
        if not accepts(model, x):
            assert batch == 0
            continue
        errors = op_errors(lowered, reference, x)
        compared = {row.node for row in mine} & errors.keys()
        assert compared or sample.pattern in ("identity", "chunk")  # no op, no tensor
        assert max(errors.values()) <= 1, (batch, errors)
