"""The settings that are compared, by the names that tables show; a new one is a line."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import fxq_core as fxq

from accuracy import nearest
from data import CALIBRATION_BATCHES

OTHER_IMAGES = "other images"
UNCORRECTED, EQUALIZED = "no bias correction", "equalized"
ONE_SCALE, ONE_SCALE_EQUALIZED = "one scale", "one scale, equalized"


class Variant(NamedTuple):
    """A config, and the first of the batches to calibrate with."""

    config: fxq.Config
    first: int = 0


def observed(observer: str) -> Variant:
    """One observer for every activation."""
    return Variant(fxq.Config(rules=(fxq.Rule("*", observer=observer),)))


def passes(weight: str | None = None, **settings: bool) -> Variant:
    """The default observer, with other passes over the weights or another weight scheme."""
    rules = () if weight is None else (fxq.Rule("*", weight=weight),)
    return Variant(fxq.Config(rules=rules, **settings))


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        **{name: observed(name) for name in ("minmax", "moving-average", "percentile", "histogram", "entropy")},
        "best per value": observed(nearest.NAME),
        UNCORRECTED: passes(bias_correction=False),
        EQUALIZED: passes(equalize=True),
        ONE_SCALE: passes("per-tensor"),
        ONE_SCALE_EQUALIZED: passes("per-tensor", equalize=True),
        # the default, to tell chance from what an observer does
        OTHER_IMAGES: Variant(fxq.Config(), CALIBRATION_BATCHES),
    }
)
