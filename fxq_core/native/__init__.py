"""Modules and emitters over ``torch.ops.quantized``, for the plugins of engines that run them.

Nothing here is imported by the core: torch is going to remove its quantized dtypes, and only this folder and
the engine plugins know of them.
"""

from __future__ import annotations

import warnings

import torch

# torch warns of the quantized dtypes once per process; spend that once here, where the reason is known
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)

from fxq_core.native import emitters
from fxq_core.native.codes import from_codes
from fxq_core.native.engine import native_engine
from fxq_core.native.lowerings import native_lowerings

__all__ = ["emitters", "from_codes", "native_engine", "native_lowerings"]
