"""Results that are off, far from float or different each time are caught, and said where and by how much."""

from __future__ import annotations

import re
from typing import Any

import torch

import fxq_core as fxq

from support import signs
from support.plain import UNIT
from support.signs import Sign, emitter, failure, suite_of


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
