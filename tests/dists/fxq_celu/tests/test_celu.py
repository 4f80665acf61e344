"""The conformance suite of fxq-core, on every installed engine that the lowering serves."""

from torch import nn

from fxq_core.testing import LoweringSuite, Sample


class TestCelu(LoweringSuite):
    provider = "fxq-celu"
    samples = {
        "default alpha": Sample("celu", nn.CELU()),
        "small alpha": Sample("celu", nn.CELU(0.3)),
        "vectors": Sample("celu", nn.CELU(), shape=(8,)),
    }
