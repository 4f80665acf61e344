"""Every op on every engine: the plan uses its pattern, and each op is within one code of the reference engine."""

from __future__ import annotations

import pytest
import torch

import fxq_core as fxq

from support.agreement import op_errors
from support.samples import SAMPLES, Behind

SHAPES = {1: (6,), 2: (6, 7), 3: (4, 4, 4)}


@pytest.mark.parametrize("name", SAMPLES)
def test_an_op_is_within_one_code_of_the_reference(engine: str, name: str, registry: fxq.Registry) -> None:
    sample = SAMPLES[name]
    torch.manual_seed(0)
    model = Behind(sample).eval()
    calibration = [torch.randn(2, 5, *SHAPES[sample.dims]) for _ in range(3)]
    quantizers = [fxq.Quantizer(model, calibration[0], chosen, registry=registry) for chosen in ("reference", engine)]
    reference, lowered = (quantizer.calibrate(calibration).quantize() for quantizer in quantizers)
    mine = [row for row in fxq.report(lowered).rows if row.pattern == sample.pattern]
    assert mine, fxq.report(lowered)
    assert {row.provider for row in mine} == {str(registry.engines[engine].provider)}
    for batch in (1, 3, 0):
        errors = op_errors(lowered, reference, torch.randn(batch, 5, *SHAPES[sample.dims]))
        compared = {row.node for row in mine} & errors.keys()
        assert compared or sample.pattern == "identity"  # which adds no op
        assert max(errors.values()) <= 1, (batch, errors)
