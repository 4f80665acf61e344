"""fxq's engine for whole graphs: OpenVINO's CPU plugin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from fxq_core import Engine, Lowering, hookimpl, reference
from fxq_openvino.engine import NAME, OPENVINO


@hookimpl
def fxq_engines() -> Iterator[Engine]:
    yield OPENVINO


@hookimpl
def fxq_lowerings() -> Iterator[Lowering]:
    """Those of the reference engine, but that no op is between conversions: there are none within a region."""
    for lowering in reference.lowerings():
        yield dataclasses.replace(lowering, engine=NAME, in_float=False)
