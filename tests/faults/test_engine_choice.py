"""E1, E2, E3, E8, E13: which engine runs, what it is known to do here, and what its models take with them."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.native import saturation
from fxq_core.native.engine import reject

from support.cli import fxq as command, table
from support.small import batches, small

LINEAR = nn.Sequential(nn.Linear(4, 4)).eval()


def test_E1_each_engine_is_usable_or_says_why_not(registry: fxq.Registry) -> None:
    done = command("engines")
    assert done.exit_code == 0
    rows = {row["engine"]: row for row in table(done.stdout)}
    assert set(registry.engines) <= set(rows)
    for name, engine in registry.engines.items():
        reason = engine.reject()
        assert (rows[name]["usable"], rows[name]["why not"]) == ("yes" if reason is None else "no", reason or "")


def test_E1_an_error_lists_the_usable_engines_or_the_command(registry: fxq.Registry) -> None:
    broken = dataclasses.replace(registry.engines["reference"], name="abacus", reject=lambda: "it has no beads")
    with_abacus = dataclasses.replace(registry, engines={**registry.engines, "abacus": broken})
    usable = ", ".join(repr(n) for n, e in sorted(registry.engines.items()) if n != "reference" and e.reject() is None)
    with pytest.raises(fxq.EngineError) as caught:
        fxq.quantize(LINEAR, [torch.rand(2, 4)], "abacus", registry=with_abacus)
    assert str(caught.value) == (
        f"engine 'abacus' of {broken.provider} can't run here: it has no beads; usable engines: {usable}"
    )
    bare = fxq.load_plugins(block=("fxq-fbgemm", "fxq-qnnpack"))
    with pytest.raises(fxq.EngineError) as caught:
        fxq.quantize(LINEAR, [torch.rand(2, 4)], "x86", registry=dataclasses.replace(bare, left_out=()))
    assert str(caught.value) == "engine 'x86' is claimed by no installed plugin; pip install fxq-fbgemm"


def test_E2_an_engine_that_computes_wrong_numbers_is_not_used(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reject(engine) is None
    add = torch.ops.quantized.add

    def off_by_two(*args: object) -> torch.Tensor:
        result = add(*args)
        codes = (result.int_repr().int() + 2).clamp(0, 255).to(torch.uint8)
        return torch._make_per_tensor_quantized_tensor(codes, result.q_scale(), result.q_zero_point())

    monkeypatch.setattr(torch.ops.quantized, "add", off_by_two)
    assert reject(engine) == "its add gives wrong numbers"

    def dies(*_: object) -> None:
        raise RuntimeError("didn't find engine\nC++ trace")

    monkeypatch.setattr(torch.ops.quantized, "add", dies)
    assert reject(engine) == "its probe failed with RuntimeError: didn't find engine"


@pytest.mark.parametrize("there", [True, False])
def test_E3_a_state_from_another_cpu_is_packed_for_this_one(
    there: bool, engine: str, registry: fxq.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = nn.Linear(4, 4)
    nn.init.ones_(layer.weight)
    data = [torch.rand(8, 4) for _ in range(4)]
    models = {}
    for vnni in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda vnni=vnni: vnni)
        models[vnni] = fxq.quantize(nn.Sequential(layer).eval(), data, engine, registry=registry)
    file = io.BytesIO()
    torch.save(models[there].state_dict(), file)
    file.seek(0)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: not there)
    here = models[not there]
    here.load_state_dict(torch.load(file, weights_only=True))
    codes = here.get_submodule("0")._packed[0].unpack()[0].int_repr()
    narrow = there and engine in saturation.X86
    assert set(codes.flatten().tolist()) == {64 if narrow else 127}
    # what is kept is whole, so that moving back gives nothing away
    assert set(here.state_dict()["0.weight"].flatten().tolist()) == {127}


def test_E8_the_report_shows_what_stays_in_memory(engine: str, registry: fxq.Registry) -> None:
    qmodel = small(engine, registry)
    report = fxq.report(qmodel)
    weights = sum(t.numel() for t in qmodel.state_dict().values() if t.dtype is torch.int8)
    assert report.packed_bytes == weights * (2 if engine == "qnnpack" else 1)
    state = sum(tensor.nbytes for tensor in qmodel.state_dict().values())
    assert report.resident_bytes == state + report.packed_bytes
    line = f"tensors take {report.resident_bytes} bytes, {report.packed_bytes} of them packed weights"
    assert str(report).splitlines()[-1] == line


def test_E8_the_state_never_comes_out_of_a_packed_weight(engine: str, registry: fxq.Registry) -> None:
    qmodel = small(engine, registry)
    before = {name: tensor.clone() for name, tensor in qmodel.state_dict().items()}
    for module in qmodel.modules():
        vars(module).pop("_packed", None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in qmodel.state_dict().items())


def test_E13_activations_are_uint8_wherever_kernels_take_nothing_else(engine: str, registry: fxq.Registry) -> None:
    found = registry.engines[engine]
    assert found.activation.dtype is torch.uint8
    assert (found.weight.dtype, found.weight.symmetric) == (torch.int8, True)
    seen = []
    qmodel = small(engine, registry)
    qmodel.depthwise.register_forward_hook(lambda layer, args, result: seen.extend((args[0].dtype, result.dtype)))
    qmodel(batches(1)[0])
    assert seen == [torch.quint8, torch.quint8]
