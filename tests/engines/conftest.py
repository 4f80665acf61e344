from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def layers_of_any_size_end_in_their_activation() -> Iterator[None]:
    """Small networks stand for large ones, in which it is faster to compute both in one kernel."""
    if importlib.util.find_spec("fxq_fbgemm") is None:
        yield
        return
    from fxq_fbgemm import fused

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "LEAST", dict.fromkeys(fused.LEAST, 0))
        yield
