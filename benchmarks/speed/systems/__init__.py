"""Every system by its name: fxq on its engines, torch's float, and the peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import fxq_core as fxq

BASELINE = "fxq-x86"


@dataclass(frozen=True, slots=True)
class System:
    """``builder`` is "module:function", imported by the worker alone: a peer that is missing costs only itself.

    ``options`` are passed to the function.
    """

    builder: str
    options: Mapping[str, Any] = field(default_factory=dict)


def _table() -> dict[str, System]:
    ours, ao = "speed.systems.ours:build", "speed.systems.ao:build"
    table = {
        "float": System("speed.systems.eager:build"),
        "float-channels-last": System("speed.systems.eager:build", {"channels_last": True}),
        **{f"fxq-{engine}": System(ours, {"engine": engine}) for engine in ("x86", "fbgemm", "onednn", "qnnpack")},
    }
    if hasattr(fxq, "tune"):
        table["fxq-x86-tuned"] = System(ours, {"engine": "x86", "tuned": True})
    if find_spec("fxq_openvino"):
        table["fxq-openvino"] = System(ours, {"engine": "openvino"})
    return {
        **table,
        "torch.ao-x86": System(ao, {"engine": "x86"}),
        "torch.ao-qnnpack": System(ao, {"engine": "qnnpack"}),
        "torchao-inductor": System("speed.systems.inductor:build"),
        "onnxruntime": System("speed.systems.onnxruntime:build"),
        "openvino": System("speed.systems.openvino:build"),
    }


SYSTEMS: Mapping[str, System] = MappingProxyType(_table())
