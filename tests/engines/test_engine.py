"""Each engine: found through its entry point, probed, and never left switched on."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.native.active import Active
from fxq_core.native.engine import reject

from support.engines import NAMED, usable_engines


def test_this_cell_has_the_engines_it_is_for() -> None:
    assert set(NAMED) <= set(usable_engines())
    assert usable_engines()


def test_it_comes_from_an_installed_plugin(engine: str, registry: fxq.Registry) -> None:
    provider = registry.engines[engine].provider
    assert provider.dist == ("fxq-qnnpack" if engine == "qnnpack" else "fxq-fbgemm")
    assert provider.version == "0.1.0"


def test_its_probe_finds_it_working_and_leaves_torch_as_it_was(engine: str, registry: fxq.Registry) -> None:
    before = torch.backends.quantized.engine
    assert registry.engines[engine].reject() is None
    assert torch.backends.quantized.engine == before


def test_an_engine_that_torch_lacks_says_what_there_is() -> None:
    known = ", ".join(sorted(set(torch.backends.quantized.supported_engines) - {"none"}))
    assert reject("abacus") == f"this build of torch has only {known}"


def test_torchs_own_engine_needs_no_naming(engine: str) -> None:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        lowered = fxq.quantize(nn.Sequential(nn.Linear(4, 4)).eval(), [torch.rand(2, 4)])
    finally:
        torch.backends.quantized.engine = before
    assert fxq.report(lowered).engine == engine


def test_without_a_name_and_without_a_choice(registry: fxq.Registry) -> None:
    """Torch's default is taken if a plugin here claims it, else the only engine that works, with a warning."""
    model, current = nn.Sequential(nn.Linear(4, 4)).eval(), torch.backends.quantized.engine
    if current in registry.engines:
        lowered = fxq.quantize(model, [torch.rand(2, 4)])
        assert fxq.report(lowered).engine == current
        return
    with pytest.warns(fxq.EngineWarning) as caught:
        lowered = fxq.quantize(model, [torch.rand(2, 4)])
    (only,) = usable_engines()
    assert fxq.report(lowered).engine == only
    assert str(caught[0].message) == (
        f"torch's engine is {current!r}, which is claimed by no installed plugin; "
        f"using {only!r} of {registry.engines[only].provider}"
    )
    assert caught[0].filename == __file__


def test_threads_that_switch_take_turns(engine: str) -> None:
    """Else the first to leave would put torch's engine back under the feet of the second."""
    other = next(name for name in torch.backends.quantized.supported_engines if name not in ("none", engine))
    inside, leave = threading.Event(), threading.Event()
    seen: list[str] = []

    def hold() -> None:
        with Active(engine):
            inside.set()
            leave.wait(10)

    def follow() -> None:
        inside.wait(10)
        with Active(engine):
            seen.append("left" if leave.is_set() else "found the first inside")
            with Active(engine):
                seen.append(torch.backends.quantized.engine)
            seen.append(torch.backends.quantized.engine)

    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = other
    try:
        threads = [threading.Thread(target=target) for target in (hold, follow)]
        for thread in threads:
            thread.start()
        inside.wait(10)
        threads[1].join(0.2)
        assert seen == []
        leave.set()
        for thread in threads:
            thread.join(10)
        assert seen == ["left", engine, engine]
        assert torch.backends.quantized.engine == other
    finally:
        torch.backends.quantized.engine = before


def test_where_torch_has_the_engine_threads_do_not_wait(engine: str) -> None:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        with Active(engine):
            entered = threading.Event()

            def enter() -> None:
                with Active(engine):
                    entered.set()

            thread = threading.Thread(target=enter)
            thread.start()
            thread.join(10)
            assert entered.is_set()
    finally:
        torch.backends.quantized.engine = before


def test_engines_may_be_entered_one_in_the_other(engine: str) -> None:
    other = next(name for name in torch.backends.quantized.supported_engines if name not in ("none", engine))
    before = torch.backends.quantized.engine
    with Active(other), Active(engine):
        assert torch.backends.quantized.engine == engine
        with pytest.raises(RuntimeError), Active("abacus"):
            raise AssertionError("torch has no such engine")
        with Active(other), Active(engine):
            assert torch.backends.quantized.engine == engine
        assert torch.backends.quantized.engine == engine
    assert torch.backends.quantized.engine == before
