"""The suite for a distribution that lowers patterns: subclass it, give samples, and pytest does the rest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import pytest
from packaging.utils import canonicalize_name

import fxq_core as fxq
from fxq_core.engines import why_unusable
from fxq_core.testing import checks
from fxq_core.testing.case import Case, Subject
from fxq_core.testing.sample import Sample
from fxq_core.types import Engine

T = TypeVar("T")


class LoweringSuite:
    """Checks every lowering of a distribution on every installed engine that it serves and that works here.

    Attributes:
        provider: the name of the distribution under test.
        samples: what to test with, by a name for each.
        rejected: samples whose op must stay float, with a reason that ``provider`` gives.
        expected_failures: reasons by check and sample, ``{("test_takes_an_empty_batch", "small alpha"): "..."}``;
            one that passes is a failure.
        plugins: plugin objects that are not installed, added to the installed ones.

    ``registry`` and ``engines`` may be overridden.
    """

    provider: ClassVar[str] = ""
    samples: ClassVar[Mapping[str, Sample]] = MappingProxyType({})
    rejected: ClassVar[Mapping[str, Sample]] = MappingProxyType({})
    expected_failures: ClassVar[Mapping[tuple[str, str], str]] = MappingProxyType({})
    plugins: ClassVar[tuple[Any, ...]] = ()

    @classmethod
    def registry(cls) -> fxq.Registry:
        """The plugins to test with: the installed ones and ``plugins``; a plugin that fails to load is an error."""
        return fxq.load_plugins(plugins=cls.plugins, strict=True)

    @classmethod
    def engines(cls) -> tuple[str, ...]:
        """The names of the engines to test on: all that work here, of which those are used that a sample fits."""
        loaded = cls._loaded()
        return tuple(name for name in loaded.engines if why_unusable(loaded, name) is None)

    @classmethod
    def all_samples(cls) -> Mapping[str, Sample]:
        """The samples of every check but that of rejections."""
        return cls.samples

    @classmethod
    def serves(cls, engine: Engine, sample: Sample) -> bool:
        """Whether the distribution under test lowers a sample's pattern on an engine."""
        lowering = cls._loaded().lowering(engine, sample.pattern)
        return lowering is not None and canonicalize_name(lowering.provider.dist) == canonicalize_name(cls.provider)

    @classmethod
    def _once(cls, name: str, make: Callable[[], T]) -> T:
        """What is made once for each suite, and kept by the class itself, so that subclasses make their own."""
        if name not in vars(cls):
            setattr(cls, name, make())
        result: T = vars(cls)[name]
        return result

    @classmethod
    def _loaded(cls) -> fxq.Registry:
        return cls._once("_registry", cls.registry)

    @classmethod
    def _usable(cls) -> tuple[str, ...]:
        loaded = cls._loaded()
        return cls._once("_engines", lambda: tuple(name for name in cls.engines() if name in loaded.engines))

    @classmethod
    def _tried(cls) -> Mapping[str, Sample]:
        return cls._once("_samples", cls.all_samples)

    @classmethod
    def _case(cls, engine: str, name: str, subject: Subject) -> Case:
        made: dict[tuple[str, str, str], Case] = cls._once("_cases", dict)
        key = engine, type(subject).__name__, name
        if key not in made:
            made[key] = Case(name, subject, cls._loaded().engines[engine], cls._loaded())
        return made[key]

    @classmethod
    def _subjects(cls, argument: str) -> Mapping[str, Any]:
        """What a check is run for, by the name of its argument."""
        return {"sample": cls._tried(), "rejected_sample": cls.rejected}[argument]

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("sample", "rejected_sample")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each check on each engine with each sample that fits."""
        cls = type(self)
        argument = next((name for name in cls.ARGUMENTS if name in metafunc.fixturenames), None)
        check = metafunc.function.__name__
        if argument is not None:
            cells = list(cls._cells(check, argument))
            nothing = pytest.param("", "", marks=pytest.mark.skip("there is nothing to test"), id="nothing")
            metafunc.parametrize(("engine", argument), cells or [nothing])
        elif "engine" in metafunc.fixturenames:
            reason = cls.expected_failures.get((check, ""))
            metafunc.parametrize("engine", [_param((name,), name, reason) for name in cls._used_engines()])

    @classmethod
    def _used_engines(cls) -> tuple[str, ...]:
        loaded = cls._loaded()
        samples = (*cls._tried().values(), *cls.rejected.values())
        return tuple(
            name for name in cls._usable() if any(cls.serves(loaded.engines[name], sample) for sample in samples)
        )

    @classmethod
    def _cells(cls, check: str, argument: str) -> Iterator[Any]:
        loaded = cls._loaded()
        for engine in cls._used_engines():
            for name, subject in cls._subjects(argument).items():
                if not isinstance(subject, Sample) or cls.serves(loaded.engines[engine], subject):
                    reason = cls.expected_failures.get((check, name))
                    yield _param((engine, name), f"{engine}-{name}", reason)

    # The checks. Each takes the name of an engine and of a sample.

    def test_there_is_something_to_test(self) -> None:
        """The distribution is loaded, and every sample fits an engine that works here."""
        if problem := type(self)._problem():
            raise AssertionError(problem)

    @classmethod
    def _problem(cls) -> str | None:
        """What is wrong with the suite itself, in a sentence."""
        loaded, who = cls._loaded(), cls.__name__
        if not cls.provider or not (cls.samples or cls.rejected):
            return f"{who} names no provider or no samples; set provider = 'your-distribution' and samples = {{...}}"
        providers = {plugin.provider.dist for plugin in loaded.plugins}
        wanted = canonicalize_name(cls.provider)
        if wanted not in map(canonicalize_name, providers):
            mine = [out for out in loaded.left_out if canonicalize_name(out.provider.dist) == wanted]
            left_out = [f"; {out.provider} is left out: {out.reason}" for out in mine]
            return (
                f"no plugin comes from {cls.provider!r}, which {who} tests; pip install it first "
                f"(loaded: {', '.join(sorted(providers))}{''.join(left_out)})"
            )
        working = [loaded.engines[name] for name in cls._usable()]
        for name, sample in {**cls._tried(), **cls.rejected}.items():
            if sample.pattern not in loaded.patterns:
                return f"sample {name!r} is of pattern {sample.pattern!r}, which no plugin registers"
            if not any(cls.serves(engine, sample) for engine in working):
                named = ", ".join(repr(engine.name) for engine in working)
                return (
                    f"{cls.provider} lowers pattern {sample.pattern!r} of sample {name!r} on no engine that works "
                    f"here ({named}); install a plugin with an engine that it serves, such as fxq-core's extras"
                )
        return cls._unknown_failure()

    @classmethod
    def _unknown_failure(cls) -> str | None:
        for check, name in cls.expected_failures:
            function = getattr(cls, check, None)
            if not check.startswith("test_") or function is None:
                return f"an expected failure names {check!r}, which is no check of {cls.__name__}"
            taken = inspect.signature(function).parameters
            argument = next((argument for argument in cls.ARGUMENTS if argument in taken), None)
            names = set(cls._subjects(argument)) if argument else {""}
            if name not in names:
                return f"an expected failure of {check!r} names {name!r}, which is none of {sorted(names)}"
        return None

    def test_plan_uses_the_pattern_and_this_provider(self, engine: str, sample: str) -> None:
        case = self._sampled(engine, sample)
        pattern = type(self)._tried()[sample].pattern
        lowering = case.registry.lowering(case.engine, pattern)
        assert lowering is not None
        rows = [row for row in fxq.report(case.lowered).rows if row.quantized and row.pattern == pattern]
        if not rows:
            checks.fail(case, f"no node of it is int8 by pattern {pattern!r}\n{fxq.report(case.lowered)}")
        if others := sorted({row.provider for row in rows} - {str(lowering.provider)}):
            checks.fail(case, f"pattern {pattern!r} is lowered by {others[0]}, not by {lowering.provider}")

    def test_leaves_the_float_model_untouched(self, engine: str, sample: str) -> None:
        checks.check_untouched(self._sampled(engine, sample))

    def test_result_is_well_formed(self, engine: str, sample: str) -> None:
        checks.check_well_formed(self._sampled(engine, sample))

    def test_is_within_one_code_of_the_reference(self, engine: str, sample: str) -> None:
        checks.check_agreement(self._sampled(engine, sample), 8)

    def test_is_close_to_float(self, engine: str, sample: str) -> None:
        checks.check_close(self._sampled(engine, sample))

    def test_is_deterministic(self, engine: str, sample: str) -> None:
        checks.check_deterministic(self._sampled(engine, sample))

    def test_takes_unseen_batch_sizes(self, engine: str, sample: str) -> None:
        case = self._sampled(engine, sample)
        for size in (1, 3):
            checks.check_shape(case, size)
            checks.check_agreement(case, size)

    def test_takes_an_empty_batch(self, engine: str, sample: str) -> None:
        checks.check_empty_batch(self._sampled(engine, sample))

    def test_state_is_saved_and_loaded(self, engine: str, sample: str) -> None:
        checks.check_state(self._sampled(engine, sample))

    def test_threads_may_share_it(self, engine: str, sample: str) -> None:
        checks.check_threads(self._sampled(engine, sample))

    def test_rejects_in_a_sentence(self, engine: str, rejected_sample: str) -> None:
        sample, loaded = type(self).rejected[rejected_sample], type(self)._loaded()
        lowering = loaded.lowering(loaded.engines[engine], sample.pattern)
        assert lowering is not None
        case = self._case(engine, f"rejected: {rejected_sample}", sample)
        checks.check_rejection(case, sample.pattern, str(lowering.provider))

    def _sampled(self, engine: str, sample: str) -> Case:
        return self._case(engine, sample, type(self)._tried()[sample])


def _param(values: tuple[str, ...], name: str, reason: str | None) -> Any:
    marks = () if reason is None else (pytest.mark.xfail(strict=True, reason=reason),)
    return pytest.param(*values, id=name, marks=marks)
