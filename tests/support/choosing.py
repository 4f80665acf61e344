"""Two engines that torch may be switched to, and made-up ones to choose from."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch

import fxq_core as fxq
from fxq_core.reference import REFERENCE

from support.distributions import load

# any two engines that torch may be switched to here
GLOBALS = sorted(set(torch.backends.quantized.supported_engines) - {"none"})
FIRST, SECOND = GLOBALS[0], GLOBALS[-1]
two_engines = pytest.mark.skipif(len(GLOBALS) < 2, reason="this build of torch has fewer than two engines")


def plugin(*names: str, reject: Callable[[], Any] = REFERENCE.reject) -> Any:
    """A plugin with engines that compute like the reference; named like its engines."""
    engines = [dataclasses.replace(REFERENCE, name=name, reject=reject) for name in names]
    return types.SimpleNamespace(
        __name__="-".join(names), fxq_engines=fxq.hookimpl(lambda: iter(engines), specname="fxq_engines")
    )


def registry(*plugins: Any) -> fxq.Registry:
    return load(plugins=plugins)
