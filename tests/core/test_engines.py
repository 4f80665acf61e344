"""Which engine is chosen, with or without a name; torch's own choice is never changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.engines import choose_engine, why_unusable

from support.choosing import FIRST, SECOND, plugin, registry, two_engines

pytestmark = pytest.mark.usefixtures("torch_is_set_to_the_first")


def test_an_engine_is_chosen_by_name() -> None:
    assert choose_engine(registry(plugin("abacus"), plugin(FIRST)), "abacus").name == "abacus"
    assert choose_engine(registry(), "reference").name == "reference"


def test_without_a_name_it_is_torchs_own() -> None:
    assert choose_engine(registry(plugin("abacus"), plugin(FIRST)), None).name == FIRST


@two_engines
def test_it_is_what_torch_names_at_that_moment() -> None:
    found = registry(plugin(FIRST, SECOND))
    torch.backends.quantized.engine = SECOND
    assert choose_engine(found, None).name == SECOND
    torch.backends.quantized.engine = FIRST
    assert choose_engine(found, None).name == FIRST


@two_engines
def test_the_only_other_engine_of_torchs_serves_with_a_warning() -> None:
    with pytest.warns(fxq.EngineWarning) as caught:
        assert choose_engine(registry(plugin(SECOND), plugin("abacus")), None).name == SECOND
    assert [str(w.message) for w in caught] == [
        f"torch's engine is {FIRST!r}, which is claimed by no installed plugin; using {SECOND!r} of {SECOND}"
    ]


@two_engines
def test_the_warning_says_why_torchs_own_does_not_serve() -> None:
    found = registry(plugin(FIRST, reject=lambda: "the sun is too low"), plugin(SECOND))
    with pytest.warns(fxq.EngineWarning) as caught:
        assert choose_engine(found, None).name == SECOND
    assert str(caught[0].message) == (
        f"torch's engine is {FIRST!r}, which can't run here: the sun is too low; using {SECOND!r} of {SECOND}"
    )


@two_engines
@pytest.mark.parametrize("stage", [fxq.quantize, fxq.Quantizer])
def test_the_warning_points_at_the_line_that_chose(stage: Callable[..., Any]) -> None:
    found = registry(plugin(SECOND))
    with pytest.warns(fxq.EngineWarning) as caught:
        stage(nn.Linear(3, 2).eval(), [torch.rand(2, 3)], registry=found)
    assert caught[0].filename == __file__


def test_a_fake_engine_quantizes() -> None:
    lowered = fxq.quantize(nn.Linear(3, 2).eval(), [torch.rand(2, 3)], "abacus", registry=registry(plugin("abacus")))
    assert str(fxq.report(lowered)).splitlines()[0] == "engine abacus (abacus): 1 of 3 nodes in int8"


def test_why_an_engine_is_unusable_is_told_without_choosing_one(core: fxq.Registry) -> None:
    assert why_unusable(core, "reference") is None
    assert why_unusable(core, "tiny") == (
        "is claimed by no installed plugin; known engines: 'reference'; others come with the plugin that brings them"
    )
