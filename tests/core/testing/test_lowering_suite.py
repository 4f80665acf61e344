"""What pytest makes of a suite: which checks it collects, on which engines, and what it says where a suite is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import fxq_core as fxq
from fxq_core.testing import LoweringSuite, Sample

from support.distributions import load
from support.plain import PLAIN, PlainPlugin
from support.signs import Sign, SignPlugin, emitter, suite_of

SIGN = Sample("sign", nn.Softsign())
CHECKS = 10

HEADER = """
from torch import nn

from fxq_core.testing import LoweringSuite, Sample

from support import signs
from support.distributions import load
from support.plain import PlainPlugin
from support.signs import SignPlugin, emitter


class TestSigns(LoweringSuite):
    provider = "SignPlugin"
    samples = {"softsign": Sample("sign", nn.Softsign()), "of features": Sample("sign", nn.Softsign(), (8,))}

    @classmethod
    def registry(cls):
        return load(plugins=(PlainPlugin(), SignPlugin(emitter(signs.KIND))))

"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a suite for the pattern of signs in a pytest of its own: the lowering's kind, and more of the class."""

    def run(kind: str, *lines: str) -> pytest.RunResult:
        pytester.makepyfile(test_signs=HEADER.replace("KIND", kind) + "".join(f"    {line}\n" for line in lines))
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", "-rA")

    return run


def test_every_check_runs_with_every_sample_under_a_name_one_can_read(run: Any) -> None:
    result = run("Sign")
    result.assert_outcomes(passed=2 * CHECKS + 1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "PASSED test_signs.py::TestSigns::test_there_is_something_to_test",
            "PASSED test_signs.py::TestSigns::test_is_within_one_code_of_the_reference[[]plain-softsign]",
            "PASSED test_signs.py::TestSigns::test_is_within_one_code_of_the_reference[[]plain-of features]",
        ]
    )


def test_a_failure_names_the_sample_the_engine_and_the_place(run: Any) -> None:
    result = run("TwoOff")
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: sample 'softsign' on engine 'plain': with a batch of 8, node 'op' (pattern 'sign') is "
            "* codes off at [[]0, 0, 0, 5] of shape [[]8, 8, 6, 7]: * where the reference engine gives *; more than "
            "one off: 1 of 2688 elements"
        ]
    )


def test_an_expected_failure_fails_as_expected(run: Any) -> None:
    result = run(
        "NotEmpty",
        "expected_failures = {",
        "    ('test_takes_an_empty_batch', 'softsign'): 'the kernel takes no empty batch',",
        "    ('test_takes_an_empty_batch', 'of features'): 'the kernel takes no empty batch',",
        "}",
    )
    result.assert_outcomes(passed=2 * CHECKS - 1, xfailed=2, skipped=1)
    result.stdout.fnmatch_lines(
        ["XFAIL *test_takes_an_empty_batch[[]plain-softsign] - the kernel takes no empty batch"]
    )


def test_an_expected_failure_that_passes_is_a_failure(run: Any) -> None:
    result = run("Sign", "expected_failures = {('test_is_deterministic', 'softsign'): 'it rolls dice'}")
    result.assert_outcomes(passed=2 * CHECKS, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["[[]XPASS(strict)[]] it rolls dice"])


def problem(suite: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        suite.test_there_is_something_to_test()
    return str(caught.value)


@pytest.mark.parametrize(
    ("named", "text"),
    [
        (("test_is_fast", "softsign"), "an expected failure names 'test_is_fast', which is no check of Suite"),
        (("registry", ""), "an expected failure names 'registry', which is no check of Suite"),
        (("test_is_deterministic", "sofsign"),
         "an expected failure of 'test_is_deterministic' names 'sofsign', which is none of ['softsign']"),
        (("test_there_is_something_to_test", "softsign"),
         "an expected failure of 'test_there_is_something_to_test' names 'softsign', which is none of ['']"),
        (("test_rejects_in_a_sentence", "softsign"),
         "an expected failure of 'test_rejects_in_a_sentence' names 'softsign', which is none of []"),
    ],
)  # fmt: skip
def test_an_expected_failure_of_nothing(named: tuple[str, str], text: str) -> None:
    suite = suite_of(emitter(Sign), attributes={"expected_failures": {named: "because"}})
    assert problem(suite) == text


def test_a_suite_that_tests_nothing_says_what_to_do() -> None:
    assert problem(suite_of(emitter(Sign), attributes={"samples": {}})) == (
        "Suite names no provider or no samples; set provider = 'your-distribution' and samples = {...}"
    )
    assert problem(suite_of(emitter(Sign), attributes={"provider": "fxq-sign"})) == (
        "no plugin comes from 'fxq-sign', which Suite tests; pip install it first "
        "(loaded: PlainPlugin, SignPlugin, fxq-core)"
    )
    assert problem(suite_of(emitter(Sign), attributes={"samples": {"typo": Sample("sing", nn.Softsign())}})) == (
        "sample 'typo' is of pattern 'sing', which no plugin registers"
    )


class Elsewhere(SignPlugin):
    @fxq.hookimpl
    def fxq_lowerings(self) -> Any:
        yield fxq.Lowering(engine="torch", pattern="sign", emit=self.emit)


def test_a_suite_without_an_engine_is_a_failure_that_says_what_to_install(run: Any) -> None:
    class Suite(LoweringSuite):
        provider = "Elsewhere"
        samples = {"softsign": SIGN}

        @classmethod
        def registry(cls) -> fxq.Registry:
            return load(plugins=(Elsewhere(emitter(Sign)),))

    text = problem(Suite())
    assert text == (
        "Elsewhere lowers pattern 'sign' of sample 'softsign' on no engine that works here ('reference'); install a "
        "plugin with an engine that it serves, such as fxq-core's extras"
    )
    result = run("Sign", "provider = 'fxq-core'")  # which lowers it on the reference engine, but for all patterns
    result.assert_outcomes(passed=2 * CHECKS + 1, skipped=1)
    result = run("Sign", "engines = classmethod(lambda cls: ('abacus',))")
    result.assert_outcomes(failed=1, skipped=CHECKS + 1)


def test_engines_are_chosen_by_what_is_lowered_and_by_what_works() -> None:
    class Broken(PlainPlugin):
        @fxq.hookimpl
        def fxq_engines(self) -> Any:
            yield from (PLAIN, fxq.Engine(
                name="broken", family="plain", activation=PLAIN.activation, weight=PLAIN.weight,
                active=PLAIN.active, reject=lambda: "it is broken",
            ), fxq.Engine(
                name="like plain", family="plain", activation=PLAIN.activation, weight=PLAIN.weight,
                active=PLAIN.active, reject=lambda: None,
            ))  # fmt: skip

    registry = load(plugins=(Broken(), SignPlugin(emitter(Sign))))
    suite = suite_of(emitter(Sign), attributes={"registry": classmethod(lambda cls: registry)})
    assert type(suite).engines() == ("like plain", "plain", "reference")
    assert type(suite)._used_engines() == ("like plain", "plain")  # lowered by name, and as a family


def test_what_is_kept_belongs_to_one_class() -> None:
    suite = suite_of(emitter(Sign))
    one, other = type("One", (type(suite),), {}), type("Other", (type(suite),), {"samples": {"mine": SIGN}})
    case = one()._sampled("plain", "softsign")
    assert one()._sampled("plain", "softsign") is case
    assert dict(other._tried()) == {"mine": SIGN}
    assert "_cases" not in vars(other)
