"""Each check catches the plugin that is broken in just its way, and says which sample, which engine and where."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.testing import LoweringSuite, Sample, checks

from support import signs
from support.distributions import CORE, load
from support.plain import UNIT, PlainPlugin, dequantize, quantize
from support.signs import Sign, SignPlugin, emitter, suite_of

WHO = "sample 'softsign' on engine 'plain': "


def says_no(match: fxq.Match) -> str | None:
    return "a sign is no number"


def failure(check: str, suite: Any, sample: str = "softsign") -> str:
    """What a check says, after the name of the sample and the engine."""
    with pytest.raises(AssertionError) as caught:
        getattr(suite, check)("plain", sample)
    message = str(caught.value)
    assert message.startswith(WHO)
    return message.removeprefix(WHO)


class TestSound(LoweringSuite):
    """What the broken ones are variations of passes every check."""

    provider = "SignPlugin"
    samples = {"softsign": Sample("sign", nn.Softsign()), "of features": Sample("sign", nn.Softsign(), (8,))}

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load(plugins=(PlainPlugin(), SignPlugin(emitter(Sign))))


class TestSoundRejection(LoweringSuite):
    provider = "SignPlugin"
    rejected = {"softsign": Sample("sign", nn.Softsign())}

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load(plugins=(PlainPlugin(), SignPlugin(emitter(Sign), says_no)))


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


def test_an_op_that_is_codes_off() -> None:
    text = failure("test_is_within_one_code_of_the_reference", suite_of(emitter(signs.TwoOff)))
    assert re.fullmatch(
        r"with a batch of 8, node 'op' \(pattern 'sign'\) is \d+ codes off at \[0, 0, 0, 5\] of shape \[8, 8, 6, 7\]: "
        r"[12]00 where the reference engine gives \d+; more than one off: 1 of 2688 elements",
        text,
    )


def test_an_op_of_another_shape() -> None:
    assert failure("test_is_within_one_code_of_the_reference", suite_of(emitter(signs.Flat))) == (
        "with a batch of 8, node 'op' has shape [8, 48, 7] where the reference engine gives [8, 8, 6, 7]"
    )


def test_a_range_that_cuts_is_far_from_float_though_the_reference_agrees() -> None:
    suite = suite_of(emitter(Sign), output=UNIT)
    suite.test_is_within_one_code_of_the_reference("plain", "softsign")
    assert re.fullmatch(
        r"its SQNR to float is \d\.\d dB, below 20 \(reference engine: \d\.\d dB\)",
        failure("test_is_close_to_float", suite),
    )


class Coarse(Sign):
    """Leaves out every other code: hardly more than one off anywhere."""

    def forward(self, *args: Any) -> torch.Tensor:
        return super().forward(*args) // 4 * 4


def test_errors_that_add_up_are_seen_from_end_to_end() -> None:
    assert re.fullmatch(
        r"its SQNR to float is 3\d\.\d dB where the reference engine's is \d\d\.\d: its error is more than 1.5 times "
        r"as large",
        failure("test_is_close_to_float", suite_of(emitter(Coarse))),
    )


class Counting:
    """Adds a constant that differs each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
        self.calls += 1
        return ctx.call(torch.maximum, emitter(Sign)(match, ctx), ctx.constant(torch.full((1,), self.calls).byte()))


class Growing(Sign):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, *args: Any) -> torch.Tensor:
        self.calls += 1
        return super().forward(*args).clamp(min=120 + 5 * self.calls)


def test_results_that_differ_from_time_to_time() -> None:
    assert failure("test_is_deterministic", suite_of(Counting())) == (
        "quantizing it again with the same data gives another 'op_constant' in its state"
    )
    text = failure("test_is_deterministic", suite_of(emitter(Growing)))
    assert re.fullmatch(r"running it again gives another output, up to \S+ away", text)


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


def rejection(reason: Any, sample: Any = None) -> str:
    reject = None if reason is None else lambda match: reason
    suite = suite_of(emitter(Sign), reject, {"rejected": {"softsign": sample or Sample("sign", nn.Softsign())}})
    with pytest.raises(AssertionError) as caught:
        suite.test_rejects_in_a_sentence("plain", "softsign")
    message = str(caught.value).partition("\n")[0]
    assert message.startswith("sample 'rejected: softsign' on engine 'plain': ")
    return message.removeprefix("sample 'rejected: softsign' on engine 'plain': ")


def test_rejections_that_are_missing_or_no_sentences() -> None:
    assert rejection(None) == "node 'op' is int8 by pattern 'sign'; it was to be rejected"
    assert rejection("No.") == "the rejection 'No.' begins with a capital letter"
    assert rejection("it is odd.") == "the rejection 'it is odd.' ends with a full stop"
    assert rejection("x", Sample("sign", nn.Tanh())) == "SignPlugin gives no reason for any node that stays float"


@pytest.mark.parametrize("reason", ["it is odd", "CELU is no number", "its 3 channels are too few"])
def test_sentences(reason: str) -> None:
    assert checks.no_sentence(reason) is None


def test_what_is_no_text() -> None:
    assert [checks.no_sentence(reason) for reason in (None, 3, "", "  ")] == ["is no text"] * 4


def test_the_layers_around_an_op_to_reject_may_be_of_its_pattern() -> None:
    odd = nn.Conv1d(8, 8, 3)
    odd.register_forward_hook(lambda *_: None)
    registry = load()
    case = checks.Case("hooked", Sample("conv1d", odd, (8, 6)), registry.engines["reference"], registry)
    checks.check_rejection(case, "conv1d", CORE)
    case = checks.Case("plain", Sample("conv1d", nn.Conv1d(8, 8, 3), (8, 6)), registry.engines["reference"], registry)
    with pytest.raises(AssertionError, match="node 'op' is int8 by pattern 'conv1d'; it was to be rejected"):
        checks.check_rejection(case, "conv1d", CORE)
