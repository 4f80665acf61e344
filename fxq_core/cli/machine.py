"""What fxq runs on: versions, CPU, threads, settings. No user's name and no path."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator

import importlib_metadata
import torch

from fxq_core.cpu import cpuinfo

# what the int8 kernels of CPUs are chosen by
FEATURES = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni",
    "avx_vnni_int8", "amx_int8", "amx_tile", "asimd", "asimdhp", "asimddp", "i8mm", "sve", "sve2",
)  # fmt: skip


def versions(distributions: Iterable[str]) -> Iterator[str]:
    """Lines of Python's, the platform's and some distributions' versions."""
    yield f"Python {platform.python_version()} ({platform.python_implementation()}, {sys.platform})"
    yield platform.platform()
    for name in distributions:
        try:
            yield f"{name} {importlib_metadata.version(name)}"
        except importlib_metadata.PackageNotFoundError:
            yield f"{name}: not installed"


def cpu() -> Iterator[str]:
    """Lines about the CPU: its name and features, as far as torch and the system say."""
    yield f"{platform.machine()}, torch uses {torch.backends.cpu.get_cpu_capability()}"
    info = cpuinfo()
    if name := info.get("model name"):
        yield name
    flags = (info.get("flags") or info.get("Features") or "").split()
    if flags:
        known = " ".join(feature for feature in FEATURES if feature in flags)
        yield f"has {known or 'none of the features that int8 kernels are chosen by'}"
    yield f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads in torch"


def environment() -> Iterator[str]:
    """Lines of the environment variables that fxq reads."""
    for name in sorted(os.environ):
        if name.startswith("FXQ_"):
            yield f"{name}={os.environ[name]}"
