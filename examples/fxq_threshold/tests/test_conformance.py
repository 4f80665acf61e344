"""fxq's conformance suite, on every engine here that runs torch's quantized ops."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.testing import LoweringSuite, Sample


class TestThreshold(LoweringSuite):
    provider = "fxq-threshold"
    samples = {
        "module": Sample("threshold", nn.Threshold(0.1, 0)),
        "module in place": Sample("threshold", nn.Threshold(0.1, 0.0, inplace=True)),
        "functional": Sample("threshold", lambda x: F.threshold(x, 0.1, 0.0)),
        "functional in place": Sample("threshold", lambda x: F.threshold(x, 0.1, 0.0, True)),
        "functional, underscored": Sample("threshold", lambda x: F.threshold_(x, 0.1, 0.0)),
        "by name": Sample("threshold", lambda x: F.threshold(x, value=0, threshold=0.1)),
        "torch": Sample("threshold", lambda x: torch.threshold(x, 0.1, 0)),
        "torch in place": Sample("threshold", lambda x: torch.threshold_(x, 0.1, 0)),
        "at zero": Sample("threshold", nn.Threshold(0.0, 0.0)),
        "below zero": Sample("threshold", nn.Threshold(-0.3, 0.0)),
        "below everything": Sample("threshold", nn.Threshold(-1e9, 0.0)),
        "above everything": Sample("threshold", nn.Sequential(nn.Threshold(1e9, 0.0), nn.Flatten())),
        "of features": Sample("threshold", nn.Threshold(0.1, 0.0), (8,)),
        "of vectors": Sample("threshold", nn.Threshold(0.1, 0.0), (8, 6)),
        "of volumes": Sample("threshold", nn.Threshold(0.1, 0.0), (8, 4, 4, 4)),
        "behind a clamp": Sample("threshold", nn.Sequential(nn.ReLU(), nn.Threshold(0.1, 0.0))),
        "of a transposed value": Sample("threshold", lambda x: F.threshold(x.transpose(1, 2), 0.1, 0.0)),
    }
    rejected = {
        "another value than 0": Sample("threshold", nn.Threshold(0.1, 20.0)),
        "a threshold from the shape": Sample("threshold", lambda x: F.threshold(x, x.shape[1] * 0.01, 0.0)),
        "a value from the data": Sample("threshold", lambda x: torch.threshold(x, 0.1, x.mean().item())),
    }
