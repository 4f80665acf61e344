"""The engine: the reference engine's graph of float ops and roundings, whose regions OpenVINO compiles."""

from __future__ import annotations

import dataclasses
import importlib.util

from torch import nn

from fxq_core import Engine
from fxq_core.quantized_module import QuantizedModule
from fxq_core.reference import FAMILY, REFERENCE

NAME = "openvino"
NEEDED = "openvino.opset15"


def reject() -> str | None:
    """Why the engine can't run here, or None: OpenVINO must have the device, and compute a tiny convolution on it."""
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed; pip install openvino"
    try:
        import openvino

        if importlib.util.find_spec(NEEDED) is None:
            return f"openvino {openvino.__version__} is too old, it has no opset 15; pip install -U openvino"
        from fxq_openvino.runtime import core

        devices = core().available_devices
        if "CPU" in devices:
            from fxq_openvino.probe import is_right

            return None if is_right() else "its int8 convolution gives wrong numbers"
    except Exception as error:
        return f"openvino can't be used: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    named = ", ".join(devices) or "none"
    return f"openvino has no CPU device here, of these: {named}; install a build of it for this processor"


def finish(module: nn.Module) -> nn.Module:
    """Compile the regions of every part."""
    from fxq_openvino.regions import compile_regions

    for part in list(module.modules()):
        if isinstance(part, QuantizedModule):
            compile_regions(part)
    return module


OPENVINO: Engine = dataclasses.replace(REFERENCE, name=NAME, family=FAMILY, reject=reject, finish=finish)
