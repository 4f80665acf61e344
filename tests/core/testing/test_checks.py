"""Each check catches the plugin that is broken in just its way, and says which sample, which engine and where."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.testing import LoweringSuite, Sample

from support import signs
from support.distributions import load
from support.plain import PlainPlugin, dequantize, quantize
from support.signs import Sign, SignPlugin, emitter, failure, says_no, suite_of


class TestSound(LoweringSuite):
    """What the broken ones are variations of passes every check."""

    provider = "SignPlugin"
    samples = {"softsign": Sample("sign", nn.Softsign()), "of features": Sample("sign", nn.Softsign(), (8,))}

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load(plugins=(PlainPlugin(), SignPlugin(emitter(Sign))))


def test_a_pattern_that_the_plan_does_not_use() -> None:
    text = failure("test_plan_uses_the_pattern_and_this_provider", suite_of(emitter(Sign), says_no))
    first, _, report = text.partition("\n")
    assert first == "no node of it is int8 by pattern 'sign'"
    assert "a sign is no number" in report


class Changing:
    """An emitter that reaches for what is not its own."""

    suite: Any

    def __call__(self, match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
        model = self.suite._case("plain", "softsign", self.suite.samples["softsign"]).model
        with torch.no_grad():
            model.last.bias.add_(1)
        model.first.train()
        torch.manual_seed(3)
        torch.set_default_dtype(torch.float64)
        return emitter(Sign)(match, ctx)


def test_a_float_model_and_a_process_that_are_changed() -> None:
    emit = Changing()
    emit.suite = suite_of(emit)
    try:
        text = failure("test_leaves_the_float_model_untouched", emit.suite)
    finally:
        torch.set_default_dtype(torch.float32)
    # the random state is put back by quantize() itself
    assert text == (
        "quantizing the model changed tensor 'last.bias', the training flag of module 'first', the default dtype; "
        "work on copies, and restore what is global"
    )


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (signs.Wide, "state 'op.table' is a Tensor of torch.float64; keep plain int8 or float32"),
        (signs.Flat, "a batch of 4 gives ((4, 48, 3), torch.float32, torch.strided) where float gives "
               "((4, 8, 6, 3), torch.float32, torch.strided)"),
    ],
)  # fmt: skip
def test_a_result_that_is_not_well_formed(kind: Any, text: str) -> None:
    assert failure("test_result_is_well_formed", suite_of(emitter(kind))) == text


def test_a_result_that_learns_or_trains() -> None:
    suite = suite_of(emitter(signs.Learning))
    case = suite._sampled("plain", "softsign")
    for parameter in case.lowered.parameters():
        parameter.requires_grad_(True)
    assert failure("test_result_is_well_formed", suite) == "parameter 'op.weight' of the result requires grad"
    case.lowered.requires_grad_(False)
    case.lowered.get_submodule("op").train()
    assert failure("test_result_is_well_formed", suite) == (
        "module 'op' of the result is in training mode; call eval()"
    )
    case.lowered.eval()
    del case.lowered.last
    assert failure("test_result_is_well_formed", suite) == (
        "there is no module at 'last' any more; add it with ctx.module(...), which keeps the path"
    )


def test_one_batch_size_for_all() -> None:
    assert failure("test_takes_unseen_batch_sizes", suite_of(emitter(signs.Fixed))) == (
        "a batch of 1 gives ((8, 8, 6, 3), torch.float32, torch.strided) where float gives "
        "((1, 8, 6, 3), torch.float32, torch.strided)"
    )


def test_an_empty_batch_that_fails() -> None:
    with pytest.raises(IndexError):
        suite_of(emitter(signs.NotEmpty)).test_takes_an_empty_batch("plain", "softsign")


class Picky(nn.Softsign):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not len(x):
            raise ValueError("no rows")
        return super().forward(x)


def test_an_empty_batch_that_float_refuses_too_is_skipped() -> None:
    sample = Sample("sign", nn.Sequential(Picky(), nn.Softsign()))
    suite = suite_of(emitter(Sign), attributes={"samples": {"picky": sample}})
    with pytest.raises(pytest.skip.Exception) as caught:
        suite.test_takes_an_empty_batch("plain", "picky")
    assert str(caught.value) == "the float model refuses an empty batch: ValueError"


def literal(codes: torch.Tensor, of: float, at: int, scale: float, zero_point: int) -> torch.Tensor:
    return quantize(torch.nn.functional.softsign(dequantize(codes, of, at)), scale, zero_point)


def emit_literals(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    of, at = ctx.input_qparams[0]
    scale, zero_point = ctx.output
    return ctx.call(literal, ctx.inputs[0], of * 1.0, at + 0, scale * 1.0, zero_point + 0)


def emit_local(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
    return ctx.call(lambda *args: literal(*args), ctx.inputs[0], *ctx.input_qparams[0], *ctx.output)


def test_a_state_that_is_not_all_of_it() -> None:
    text = failure("test_state_is_saved_and_loaded", suite_of(emit_literals))
    assert re.fullmatch(
        r"one of other weights, calibrated on other data, that loads its state gives another output, up to \S+ away",
        text,
    )
    text = failure("test_state_is_saved_and_loaded", suite_of(emit_local))
    assert text.startswith("it can't be copied or pickled: ")


def test_threads_that_take_each_others_input() -> None:
    text = failure("test_threads_may_share_it", suite_of(emitter(signs.Twice)))
    assert re.fullmatch(r"run by 4 threads at once it gives another output than alone, up to \S+ away", text)
