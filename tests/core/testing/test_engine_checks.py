"""Each law of an engine catches the engine that breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import fx, nn

import fxq_core as fxq
from fxq_core.testing import Sample
from fxq_core.types import Engine

from support.engine_suites import failure, suite_of
from support.plain import PLAIN, emit_dequantize, emit_layer, quantize


def test_a_rejection_that_is_no_sentence_or_changes_something() -> None:
    suite = suite_of()
    loaded = suite._loaded()
    engines: Any = dict(loaded.engines)
    type(suite)._registry = replace(loaded, engines=engines)
    engines["plain"] = replace(PLAIN, reject=lambda: "No way.")
    assert failure("test_says_why_it_is_not_usable", suite) == (
        "engine 'plain': the rejection 'No way.' begins with a capital letter"
    )
    engines["plain"] = replace(PLAIN, reject=lambda: torch.manual_seed(1) and None)
    assert failure("test_says_why_it_is_not_usable", suite) == "reject() of engine 'plain' changed the random state"


@pytest.mark.parametrize(
    ("what", "change", "text"),
    [
        ("activation", {"axis": 1}, "engine 'plain' wants activations with one scale per channel; set axis=None"),
        ("weight", {"symmetric": False}, "engine 'plain' wants weights with a zero point; set symmetric=True"),
        ("weight", {"observer": "guess"},
         "engine 'plain' wants observer 'guess' for weights, which no plugin provides; "
         "installed: entropy, histogram, minmax, moving-average, percentile"),
        ("weight", {"observer": "histogram"},
         "engine 'plain': observer 'histogram' refuses its spec of weights: a histogram has one range for the whole "
         "tensor; use 'minmax' for channels"),
    ],
)  # fmt: skip
def test_specs_that_the_core_can_not_serve(what: str, change: dict[str, Any], text: str) -> None:
    engine: Engine = replace(PLAIN, **{what: replace(getattr(PLAIN, what), **change)})
    assert failure("test_wants_what_the_core_can_give", suite_of(engine)) == text


def away_from_zero(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return quantize(x + 0.3 * scale * x.sign(), scale, zero_point)


def emit_away(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    return ctx.call(away_from_zero, ctx.inputs[0], *ctx.output)


def wrapping(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return (torch.round(x / scale) + zero_point).int().to(torch.uint8)


def emit_wrapping(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    return ctx.call(wrapping, ctx.inputs[0], *ctx.output)


def emit_other_constant(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    scale, zero_point = ctx.output
    return ctx.constant(quantize(ctx.attribute(), scale, zero_point - 1))


def emit_double(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
    return ctx.call_method("double", emit_dequantize(match, ctx))


BORDERS = {
    "quantize and dequantize of a vector with scale 0.000244141 and zero point 0 gives 0.000244141 for 6.10352e-05, "
    "not 0; wrong: 255 of 770": {"quantize": emit_away},
    "quantize and dequantize of a vector with scale 0.000244141 and zero point 0 gives 0.0517578 for -0.0732422, "
    "not 0; wrong: 2 of 770": {"quantize": emit_wrapping},
    "the constant with scale 0.000244141 and zero point 0 gives 0 for 0.000183105, not 0.000244141; "
    "wrong: 765 of 770": {"constant": emit_other_constant},
    "quantize and dequantize of a vector with scale 0.000244141 and zero point 0 gives torch.float64 of shape [770] "
    "for float32 of shape [770]": {"dequantize": emit_double},
}


@pytest.mark.parametrize("text", BORDERS)
def test_a_border_that_is_not_exact(text: str) -> None:
    assert failure("test_converts_exactly_at_the_borders", suite_of(**BORDERS[text])).startswith(
        f"engine 'plain': {text}"
    )


def test_a_pattern_without_a_sample() -> None:
    suite = suite_of(softmax=emit_layer, hardswish=emit_layer, attributes={"networks": {}})
    type(suite)._samples = {name: s for name, s in suite.all_samples().items() if s.pattern not in ("add", "softmax")}
    assert "add" in suite_of()._loaded().patterns
    with pytest.raises(fxq.PluginError):  # hardswish has a sample, which this emitter can't lower
        suite.test_every_pattern_it_lowers_has_a_sample("plain")
    del type(suite)._samples["hardswish"]
    assert failure("test_every_pattern_it_lowers_has_a_sample", suite) == (
        "engine 'plain' lowers add, hardswish, softmax, of which no sample is int8; add one to samples"
    )


def no(match: fxq.Match) -> str:
    return "no matrix is large enough"


def test_a_sample_that_the_engine_leaves_in_float_is_skipped_unless_it_is_the_suites_own_or_all_must_be() -> None:
    check = "test_plan_uses_the_pattern_and_this_provider"
    with pytest.raises(pytest.skip.Exception) as caught:
        getattr(suite_of(), check)("plain", "cat with relu")
    assert str(caught.value) == (
        "relu is float: engine 'plain' has no lowering for pattern 'clamp'; leaky_relu is float: engine 'plain' has no "
        "lowering for pattern 'leaky_relu'; cat is float: int8 would only add conversions here"
    )
    message = "sample 'cat with relu' on engine 'plain': no node of it is int8 by pattern 'cat'\n"
    assert failure(check, suite_of(attributes={"complete": True}), "cat with relu").startswith(message)
    own = {"cat with relu": Sample("cat", lambda x: torch.cat([x.relu(), nn.functional.leaky_relu(x)], 1))}
    assert failure(check, suite_of(attributes={"samples": own}), "cat with relu").startswith(message)


def test_networks_that_are_codes_off() -> None:
    def emit(match: fxq.Match, ctx: fxq.LoweringContext) -> fx.Node:
        return ctx.call(torch.bitwise_and, emit_layer(match, ctx), 0xF0)

    suite = suite_of(linear=emit)
    text = failure("test_network_is_within_one_code_of_the_reference", suite, "perceptron")
    assert text.startswith("network 'perceptron' on engine 'plain': with a batch of 4, node ")
    assert "(pattern 'linear') is 1" in text
    text = failure("test_network_is_close_to_float", suite, "perceptron")
    assert text.startswith("network 'perceptron' on engine 'plain': its SQNR to float is ")


def test_an_engine_that_is_not_there_or_can_not_run() -> None:
    def problem(suite: Any) -> str:
        with pytest.raises(AssertionError) as caught:
            suite.test_there_is_something_to_test()
        return str(caught.value)

    assert problem(suite_of(attributes={"engine": ""})) == (
        "engine '', which Suite tests, is not usable: is not named; set engine = 'its name'"
    )
    assert problem(suite_of(attributes={"engine": "abacus"})) == (
        "engine 'abacus', which Suite tests, is not usable: is claimed by no installed plugin; known engines: "
        "'plain', 'reference'; others come with the plugin that brings them"
    )
    assert problem(suite_of(replace(PLAIN, reject=lambda: "it has no beads"))) == (
        "engine 'plain', which Suite tests, is not usable: it has no beads"
    )
    assert problem(suite_of(attributes={"samples": {"mine": Sample("mish", nn.Mish())}})) == (
        "no lowering for pattern 'mish' of sample 'mine' on 'plain'"
    )
