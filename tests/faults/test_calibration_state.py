"""C11 to C14: calibration that is interrupted, split, repeated or long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.observers.histogram import BINS

from support.processes import WITHOUT_NUMPY
from support.small import Small, batches, digest, in_process

COUNT = 12
# calibrates with a checkpoint after each batch and prints how far it is; the second argument slows it down
RESUMABLE = """
import sys, time, torch
import fxq_core as fxq
from support.small import Small, batches, digest
torch.set_num_threads(1)
def slowly():
    for number, batch in enumerate(batches(12)):
        print(number, flush=True)
        yield batch
        time.sleep(float(sys.argv[2]))
q = fxq.Quantizer(Small().eval(), batches(1)[0], "reference")
q.calibrate(slowly(), checkpoint=sys.argv[1], every=2)
print(digest(q.quantize()), q.batches, q.samples)
"""


def quantizer(registry: fxq.Registry, engine: str = "reference", **settings: Any) -> fxq.Quantizer:
    return fxq.Quantizer(Small().eval(), batches(1)[0], engine, fxq.Config(**settings), registry)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_C11_killed_it_goes_on_to_the_same_result(tmp_path: Path, registry: fxq.Registry) -> None:
    path = tmp_path / "calibration"
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    for last in (3, 7):
        # killed in the middle, after it has written what it has seen so far
        process = subprocess.Popen(
            [sys.executable, "-W", WITHOUT_NUMPY, "-c", RESUMABLE, str(path), "0.2"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert process.stdout is not None
        for line in process.stdout:
            if int(line.split()[0]) == last:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert process.returncode == -signal.SIGKILL
        assert path.exists()
        assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == ["calibration"]
    done = in_process(RESUMABLE, str(path), "0")
    assert done.returncode == 0, done.stderr
    whole = quantizer(registry).calibrate(batches(COUNT))
    assert done.stdout.split()[-3:] == [digest(whole.quantize()), "12", "96"]


def test_C11_it_goes_on_after_the_batches_it_holds(tmp_path: Path, registry: fxq.Registry) -> None:
    path, given = tmp_path / "calibration", batches(COUNT)

    class Interrupted(Exception):
        pass

    def until(count: int) -> Any:
        yield from given[:count]
        raise Interrupted

    with pytest.raises(Interrupted):
        quantizer(registry).calibrate(until(7), checkpoint=path, every=3)
    q = quantizer(registry)
    seen: list[int] = []
    observe = q.observe
    q.observe = lambda *args: (seen.append(1), observe(*args))  # type: ignore[method-assign]
    q.calibrate(given, checkpoint=path, every=3)
    assert len(seen) == COUNT - 6
    assert digest(q.quantize()) == digest(quantizer(registry).calibrate(given).quantize())
    # and once more, with nothing left to do
    again = quantizer(registry).calibrate(given, checkpoint=path)
    assert (again.batches, digest(again.quantize())) == (COUNT, digest(q.quantize()))


def told(path: Path, q: fxq.Quantizer, given: Any) -> str:
    with pytest.raises(fxq.CalibrationError) as caught:
        q.calibrate(given, checkpoint=path)
    return str(caught.value)


def test_C11_a_checkpoint_of_something_else_is_refused(tmp_path: Path, registry: fxq.Registry) -> None:
    path, given = tmp_path / "calibration", batches(3)
    quantizer(registry).calibrate(given, checkpoint=path)
    ways = "give another path, or delete it to calibrate from the start"
    other = f"checkpoint {str(path)!r} is of a calibration of another model, engine or config; {ways}"
    trained = Small().eval()
    nn.init.ones_(trained.head.weight)
    assert told(path, fxq.Quantizer(trained, given[0], "reference", registry=registry), given) == other
    assert told(path, quantizer(registry, "x86"), given) == other
    assert told(path, quantizer(registry, skip=("head",)), given) == other
    assert told(path, quantizer(registry, nonfinite="mask"), given) == other
    begun = quantizer(registry)
    begun.observe(given[0])
    began = f"checkpoint {str(path)!r} is of a calibration of one that began at batch 0; {ways}"
    assert told(path, begun, given) == began
    assert told(path, quantizer(registry), given[:2]) == (
        f"checkpoint {str(path)!r} holds 3 batches, but there are only 2; give the batches that it was made with"
    )


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 no zip"])
def test_C11_a_broken_checkpoint_is_refused(content: bytes, tmp_path: Path, registry: fxq.Registry) -> None:
    path = tmp_path / "calibration"
    path.write_bytes(content)
    text = told(path, quantizer(registry), batches(1))
    assert text.startswith(f"checkpoint {str(path)!r} can't be read (")
    assert text.endswith("); delete it to calibrate from the start")
    torch.save({"format": 0}, path)
    assert "it is of another format" in told(path, quantizer(registry), batches(1))
    text = told(tmp_path / "no" / "folder", quantizer(registry), batches(1))
    assert text.startswith(f"checkpoint {str(tmp_path / 'no' / 'folder')!r} can't be written (FileNotFoundError")
    with pytest.raises(fxq.CalibrationError) as caught:
        quantizer(registry).calibrate(batches(1), checkpoint=path, every=0)
    assert str(caught.value) == "every is 0; give the number of batches between two checkpoints"


def test_C11_ctrl_c_leaves_the_float_model_untouched(registry: fxq.Registry) -> None:
    net = Small().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    forwards = [type(module).forward for module in net.modules()]

    def interrupted() -> Any:
        yield batches(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fxq.quantize(net, interrupted(), "reference", registry=registry)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [type(module).forward for module in net.modules()] == forwards
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("name", ["minmax", "histogram", "entropy", "percentile"])
def test_C12_merged_shards_are_one_pass(name: str, registry: fxq.Registry) -> None:
    given, rules = batches(9), (fxq.Rule("*", observer=name),)
    whole = quantizer(registry, rules=rules).calibrate(given)
    shards = [quantizer(registry, rules=rules).calibrate(given[start::3]) for start in range(3)]
    expected = digest(whole.quantize())
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = quantizer(registry, rules=rules)
        for number in order:
            merged.merge(shards[number])
        assert (merged.batches, merged.samples) == (9, 72)
        assert digest(merged.quantize()) == expected


def test_C12_masked_values_are_counted_over_all_shards(registry: fxq.Registry) -> None:
    x = batches(1)[0]
    bad = x.clone()
    bad[0, 0, 0, :2] = float("nan")
    one, other = (quantizer(registry, nonfinite="mask").calibrate([x, bad]) for _ in range(2))
    assert (
        dict(fxq.report(one.merge(other).quantize()).notes)["node 'x'"] == "4 NaN and 0 Inf were left out of its range"
    )


def test_C12_only_like_merges_with_like(registry: fxq.Registry) -> None:
    q = quantizer(registry).calibrate(batches(1))
    text = "Small can't be merged with a quantizer of another model, engine or config; give one that was made with the "
    for other in (quantizer(registry, skip=("head",)), quantizer(registry, "x86"), q.prepared):
        with pytest.raises(fxq.CalibrationError) as caught:
            q.merge(other)  # type: ignore[arg-type]
        assert str(caught.value) == f"{text}same arguments"
    assert q.batches == 1


SAME = """
import sys, torch
from support.small import digest, small
torch.set_num_threads(1)
print(digest(small(sys.argv[1])))
"""


def test_C13_the_same_inputs_give_the_same_bytes_in_any_process(engine: str, registry: fxq.Registry) -> None:
    found = set()
    for seed in ("0", "1"):
        done = in_process(SAME, engine, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_C14_what_is_kept_does_not_grow_with_the_batches(registry: fxq.Registry) -> None:
    net = Small().eval()
    alive: list[weakref.ref[torch.Tensor]] = []
    net.stem.register_forward_hook(lambda layer, args, result: alive.append(weakref.ref(result)))
    q = fxq.Quantizer(net, batches(1)[0], "reference", registry=registry)
    alive.clear()
    q.calibrate(batches(COUNT))
    # no activation outlives its batch, and each observer holds a bounded number of bins
    assert len(alive) == COUNT
    assert all(reference() is None for reference in alive)
    counts = [
        value.numel()
        for part in q._prepared.parts.values()
        for observer in part.observers.values()
        for value in observer.state_dict().values()
        if isinstance(value, torch.Tensor)
    ]
    assert max(counts) <= BINS
