"""The conformance kit: what a distribution subclasses to test its patterns, engines and observers.

Give a suite samples of your own; pytest runs every check on every engine that your lowerings serve::

    class TestCelu(LoweringSuite):
        provider = "fxq-celu"
        samples = {"default": Sample("celu", nn.CELU()), "small alpha": Sample("celu", nn.CELU(0.3))}

It needs the extra ``testing`` and is imported by tests alone.
"""

from __future__ import annotations

try:
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"fxq_core.testing needs {error.name}, which is not installed; pip install 'fxq-core[testing]'"
    ) from error

from fxq_core.testing import strategies
from fxq_core.testing.engine_suite import EngineSuite
from fxq_core.testing.lowering_suite import LoweringSuite
from fxq_core.testing.networks import Network
from fxq_core.testing.observer_suite import ObserverSuite
from fxq_core.testing.sample import Sample

__all__ = ["EngineSuite", "LoweringSuite", "Network", "ObserverSuite", "Sample", "strategies"]
