"""E4 to E7: torch's engine is one global for all threads; what a model computes must not depend on it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.native.active import _SWITCH, Active

from support.engines import usable_engines
from support.small import batches, digest, in_process, small

DIGEST = """
import sys, torch
from support.small import digest, small
torch.set_num_threads(1)
print(digest(small(sys.argv[1])))
"""
THREADS, ROUNDS = 4, 3


@pytest.fixture(scope="module")
def alone() -> dict[str, str]:
    """What a process of its own computes, by engine."""
    found = {}
    for engine in usable_engines():
        done = in_process(DIGEST, engine)
        assert done.returncode == 0, done.stderr
        found[engine] = done.stdout.strip()
    return found


def test_E4_models_of_all_engines_in_one_process_compute_what_they_do_alone(alone: dict[str, str]) -> None:
    before = torch.backends.quantized.engine
    models = {engine: small(engine) for engine in alone}
    for foreign in alone:
        torch.backends.quantized.engine = foreign
        try:
            assert {engine: digest(model) for engine, model in models.items()} == alone
            assert torch.backends.quantized.engine == foreign
        finally:
            torch.backends.quantized.engine = before


def test_E5_threads_with_models_of_several_engines_compute_what_they_do_alone(alone: dict[str, str]) -> None:
    before = torch.backends.quantized.engine
    models = {engine: small(engine) for engine in alone}
    wrong: list[str] = []

    def work(engine: str) -> None:
        for _ in range(ROUNDS):
            if digest(models[engine]) != alone[engine]:
                wrong.append(engine)

    threads = [threading.Thread(target=work, args=(engine,)) for engine in alone for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert torch.backends.quantized.engine == before


def test_E5_importing_the_plugins_leaves_torch_alone() -> None:
    code = (
        "import torch; before = torch.backends.quantized.engine; import fxq_core, fxq_fbgemm, fxq_qnnpack;"
        "fxq_core.load_plugins(); print(before == torch.backends.quantized.engine)"
    )
    done = in_process(code)
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_E5_an_error_in_the_middle_puts_torchs_engine_back(engine: str, registry: fxq.Registry) -> None:
    before = torch.backends.quantized.engine
    other = next(name for name in torch.backends.quantized.supported_engines if name not in ("none", engine))
    torch.backends.quantized.engine = other
    try:
        with pytest.raises(RuntimeError):
            small(engine, registry)(torch.rand(1, 99, 8, 8))
        assert torch.backends.quantized.engine == other
        assert _SWITCH.depth == 0
    finally:
        torch.backends.quantized.engine = before


def test_E5_another_engines_rounding_is_the_worst_that_foreign_code_can_do(engine: str, registry: fxq.Registry) -> None:
    """Nothing but additions and pooling read the global while they run."""
    qmodel, x = small(engine, registry), batches(1)[0]
    expected = qmodel(x)
    steps = {row.node: row.scale for row in fxq.report(qmodel).rows}
    before = torch.backends.quantized.engine
    handles = []

    def flip(name: str) -> None:
        torch.backends.quantized.engine = name

    try:
        for foreign in usable_engines():
            handles.append(qmodel.depthwise.register_forward_hook(lambda *_, foreign=foreign: flip(foreign)))
            assert (qmodel(x) - expected).abs().max() <= 8 * steps["head"]
            handles.pop().remove()
    finally:
        torch.backends.quantized.engine = before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_E5_a_fork_in_the_middle_of_another_threads_forward_hangs_nothing() -> None:
    before = torch.backends.quantized.engine
    other = next(name for name in torch.backends.quantized.supported_engines if name not in ("none", before))
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with Active(other):
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        # the holder is not here: what it would have put back is back, and its lock is free
        sound = torch.backends.quantized.engine == before
        with Active(other):
            sound = sound and torch.backends.quantized.engine == other
        os._exit(0 if sound and torch.backends.quantized.engine == before else 1)
    try:
        assert _exit_code(child) == 0
    finally:
        leave.set()
        thread.join(60)
    assert torch.backends.quantized.engine == before


def _exit_code(child: int) -> int:
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise AssertionError("the child hangs")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_E5_a_fork_in_the_middle_of_ones_own_forward_leaves_as_it_entered() -> None:
    before = torch.backends.quantized.engine
    other = next(name for name in torch.backends.quantized.supported_engines if name not in ("none", before))
    with Active(other):
        child = os.fork()
        if child:
            assert _exit_code(child) == 0
    if child == 0:
        os._exit(0 if torch.backends.quantized.engine == before and _SWITCH.depth == 0 else 1)


def test_E6_the_first_calls_of_a_model_may_be_concurrent(engine: str, registry: fxq.Registry) -> None:
    x = batches(1)[0]
    expected = small(engine, registry)(x)
    for _ in range(3):
        qmodel = small(engine, registry)
        # nothing is left to be packed by the first call
        packed = [m for m in qmodel.modules() if hasattr(m, "pack")]
        assert len(packed) == 3
        assert all("_packed" in vars(m) for m in packed)
        barrier, results = threading.Barrier(THREADS), list[torch.Tensor]()

        def work(qmodel: nn.Module = qmodel, barrier: threading.Barrier = barrier, out: list = results) -> None:
            barrier.wait(60)
            out.append(qmodel(x))

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(results) == THREADS
        assert all(torch.equal(result, expected) for result in results)


def test_E7_the_docs_say_that_qnnpack_counts_its_own_threads(engine: str, registry: fxq.Registry) -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    assert "QNNPACK does not heed `torch.set_num_threads`" in page
    qmodel, x, before = small(engine, registry), batches(1)[0], torch.get_num_threads()
    expected = qmodel(x)
    try:
        torch.set_num_threads(2)
        assert torch.equal(qmodel(x), expected)
    finally:
        torch.set_num_threads(before)
