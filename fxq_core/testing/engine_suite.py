"""The suite for an engine: everything a lowering is checked for, with every built-in pattern, and the engine's laws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from packaging.utils import canonicalize_name

import fxq_core as fxq
from fxq_core.discovery import CORE
from fxq_core.engines import why_unusable
from fxq_core.families import BORDERS
from fxq_core.plan import STRUCTURE
from fxq_core.testing import checks, engine_checks
from fxq_core.testing.case import Case
from fxq_core.testing.lowering_suite import LoweringSuite
from fxq_core.testing.networks import NETWORKS, Network
from fxq_core.testing.photo import photo_of_process
from fxq_core.testing.sample import Sample
from fxq_core.testing.samples import SAMPLES
from fxq_core.types import Engine

# a sample's own layer pads on one side only, and torch says that this costs a copy
PADS_UNEVENLY = "ignore:Using padding='same' with even kernel lengths:UserWarning"


@pytest.mark.filterwarnings(PADS_UNEVENLY)
class EngineSuite(LoweringSuite):
    """Checks an engine: with samples of every built-in pattern that it lowers, with networks, and by itself.

    Attributes:
        engine: its name; it must be installed and work here.
        samples: added to the built-in ones, or in place of those of the same name; each must be lowered.
        networks: small networks to run as a whole.
        complete: every built-in sample of a pattern that it lowers is int8. Otherwise it may leave one in float, with
            the reason in the plan, and the sample is skipped; but each pattern that it lowers needs one that is not.

    ``provider`` is the engine's own. The other attributes are those of ``LoweringSuite``; an expected failure of a
    check that takes no sample, or that takes a network, has ``""`` or the network's name in place of the sample's.
    An engine with ``finish`` is compared from end to end alone.
    """

    engine: ClassVar[str] = ""
    networks: ClassVar[Mapping[str, Network]] = NETWORKS
    complete: ClassVar[bool] = False
    ARGUMENTS = (*LoweringSuite.ARGUMENTS, "network")

    @classmethod
    def engines(cls) -> tuple[str, ...]:
        return (cls.engine,) if why_unusable(cls._loaded(), cls.engine) is None else ()

    @classmethod
    def _used_engines(cls) -> tuple[str, ...]:
        return cls._usable()

    @classmethod
    def all_samples(cls) -> Mapping[str, Sample]:
        """The built-in samples that one of the engines lowers, and the suite's own."""
        loaded = cls._loaded()
        engines = [loaded.engines[name] for name in cls._usable()]
        builtin = {n: s for n, s in SAMPLES.items() if any(cls.serves(engine, s) for engine in engines)}
        return {**builtin, **cls.samples}

    @classmethod
    def serves(cls, engine: Engine, sample: Sample) -> bool:
        """Whether the engine lowers a sample's pattern, by whatever distribution."""
        return cls._loaded().lowering(engine, sample.pattern) is not None

    @classmethod
    def _subjects(cls, argument: str) -> Mapping[str, Any]:
        return cls.networks if argument == "network" else super()._subjects(argument)

    @classmethod
    def _problem(cls) -> str | None:
        loaded = cls._loaded()
        if not cls._usable():
            reason = why_unusable(loaded, cls.engine) if cls.engine else "is not named; set engine = 'its name'"
            return f"engine {cls.engine!r}, which {cls.__name__} tests, is not usable: {reason}"
        for name, sample in {**cls.samples, **cls.rejected}.items():
            if not any(cls.serves(loaded.engines[engine], sample) for engine in cls._usable()):
                named = ", ".join(map(repr, cls._usable()))
                return f"no lowering for pattern {sample.pattern!r} of sample {name!r} on {named}"
        return cls._unknown_failure()

    def _sampled(self, engine: str, sample: str) -> Case:
        case = super()._sampled(engine, sample)
        if not (self.complete or sample in self.samples or self._is_int8(case, self._tried()[sample])):
            rows = [row for row in fxq.report(case.lowered).rows if not row.quantized and row.op not in STRUCTURE]
            pytest.skip("; ".join(dict.fromkeys(f"{row.op} is float: {row.reason}" for row in rows)))
        return case

    @staticmethod
    def _is_int8(case: Case, sample: Sample) -> bool:
        return any(row.quantized and row.pattern == sample.pattern for row in fxq.report(case.lowered).rows)

    def _engine(self, name: str) -> Engine:
        return type(self)._loaded().engines[name]

    def _network(self, engine: str, network: str) -> Case:
        return self._case(engine, network, type(self).networks[network])

    # The checks of the engine itself.

    def test_says_why_it_is_not_usable(self, engine: str) -> None:
        """``reject`` returns None or a sentence, and changes nothing of the process."""
        before = photo_of_process()
        reason = self._engine(engine).reject()
        if reason is not None and (text := checks.no_sentence(reason)):
            raise AssertionError(f"engine {engine!r}: the rejection {reason!r} {text}")
        if changes := before.changes(photo_of_process()):
            raise AssertionError(f"reject() of engine {engine!r} changed {', '.join(changes)}")

    def test_leaves_the_process_as_it_was(self, engine: str) -> None:
        engine_checks.check_active(self._engine(engine))

    def test_wants_what_the_core_can_give(self, engine: str) -> None:
        engine_checks.check_specs(self._engine(engine), type(self)._loaded())

    def test_converts_exactly_at_the_borders(self, engine: str) -> None:
        if self._engine(engine).finish is not None:
            pytest.skip("it takes whole graphs, and is compared from end to end")
        engine_checks.check_borders(self._engine(engine), type(self)._loaded())

    def test_every_pattern_it_lowers_has_a_sample(self, engine: str) -> None:
        """Patterns of the core and of the engine's own distribution; those of third parties are theirs to test."""
        loaded, record = type(self)._loaded(), self._engine(engine)
        dists = {canonicalize_name(CORE), canonicalize_name(record.provider.dist)}
        lowered = {
            name
            for name, pattern in loaded.patterns.items()
            if canonicalize_name(pattern.provider.dist) in dists and loaded.lowering(record, name) is not None
        }
        tested = {
            sample.pattern
            for name, sample in self._tried().items()
            if self._is_int8(super(EngineSuite, self)._sampled(engine, name), sample)
        }
        if untested := sorted(lowered - tested - set(BORDERS)):
            raise AssertionError(
                f"engine {engine!r} lowers {', '.join(untested)}, of which no sample is int8; add one to samples"
            )

    def test_network_is_within_one_code_of_the_reference(self, engine: str, network: str) -> None:
        checks.check_agreement(self._network(engine, network), 4)

    def test_network_is_close_to_float(self, engine: str, network: str) -> None:
        checks.check_close(self._network(engine, network))

    def test_network_is_well_formed_and_saved(self, engine: str, network: str) -> None:
        case = self._network(engine, network)
        checks.check_untouched(case)
        checks.check_well_formed(case)
        checks.check_state(case)

    def test_threads_may_run_two_models(self, engine: str) -> None:
        cases = [self._network(engine, name) for name in list(type(self).networks)[:2]]
        checks.check_threads(*cases)
