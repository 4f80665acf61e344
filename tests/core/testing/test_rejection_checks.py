"""A rejection that is missing, or no sentence, is caught; a sound one passes."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import fxq_core as fxq
from fxq_core.testing import LoweringSuite, Sample, checks

from support.distributions import CORE, load
from support.plain import PlainPlugin
from support.signs import Sign, SignPlugin, emitter, says_no, suite_of


class TestSoundRejection(LoweringSuite):
    provider = "SignPlugin"
    rejected = {"softsign": Sample("sign", nn.Softsign())}

    @classmethod
    def registry(cls) -> fxq.Registry:
        return load(plugins=(PlainPlugin(), SignPlugin(emitter(Sign), says_no)))


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
