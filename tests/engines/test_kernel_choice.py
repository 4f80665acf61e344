"""Which kernel a layer is packed for: the rule by shape, the safety that overrules it, and what keeps the choice."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.native import kernels, saturation
from fxq_core.native.kernels import FEW, FLOAT, LARGEST_TABLE, best_kernel
from fxq_core.native.layers import QuantizedConv, QuantizedLinear
from fxq_core.native.packed import PackedLayer
from fxq_core.native.transposed import QuantizedConvTranspose

DENSE = (8, 4, 3, 3)
BOTH = {"fbgemm", "onednn", "x86", "qnnpack"}


@pytest.fixture
def x86(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of torch and a CPU with all that engine "x86" may choose from; nothing is run there."""
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    for module in (kernels, saturation):
        monkeypatch.setattr(module, "advertised", lambda: BOTH)


@pytest.mark.usefixtures("x86")
@pytest.mark.parametrize(
    ("outputs", "groups", "kernel"),
    [(1, 1, "fbgemm"), (FEW, 1, "fbgemm"), (FEW + 1, 1, "onednn"), (1, 2, "onednn"), (10 * FEW, 116, "onednn")],
)
def test_the_rule(outputs: int, groups: int, kernel: str) -> None:
    assert best_kernel("x86", outputs, DENSE, groups) == kernel


@pytest.mark.usefixtures("x86")
@pytest.mark.parametrize("name", ["fbgemm", "onednn", "qnnpack"])
def test_an_engine_that_is_named_for_its_kernels_keeps_them(name: str) -> None:
    assert {best_kernel(name, outputs, DENSE, groups) for outputs in (1, 2 * FEW) for groups in (1, 8)} == {name}
    assert kernels.kernels(name) == (name,)


@pytest.mark.parametrize(
    ("shape", "groups", "pointers"),
    [
        ((96, 1, 7, 7), 96, 49 * 96),
        ((96, 1, 1, 27), 96, 27 * 96),
        ((192, 1, 3, 3), 96, 9 * 96),
        ((96, 1, 3, 3), 96, 0),
        ((96, 1, 5, 5), 96, 0),
        ((96, 2, 7, 7), 48, 0),
        ((96, 1, 7, 7), 1, 0),
        ((96, 1), 1, 0),
    ],
)
def test_qnnpack_keeps_no_more_pointers_than_fit(shape: tuple[int, ...], groups: int, pointers: int) -> None:
    fitting = LARGEST_TABLE // (8 * pointers) if pointers else 10**9
    assert best_kernel("qnnpack", fitting * shape[0], shape, groups) == "qnnpack"
    if pointers:
        assert best_kernel("qnnpack", (fitting + 1) * shape[0], shape, groups) == FLOAT


@pytest.mark.usefixtures("x86")
def test_a_build_without_one_of_them_leaves_the_choice_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "advertised", lambda: {"fbgemm", "x86"})
    assert {best_kernel("x86", outputs, DENSE, groups) for outputs in (1, 2 * FEW) for groups in (1, 8)} == {"x86"}
    assert kernels.kernels("x86") == ("fbgemm",)


@pytest.mark.usefixtures("x86")
def test_without_vnni_large_layers_stay_with_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert best_kernel("x86", 2 * FEW, DENSE) == "fbgemm"
    assert best_kernel("x86", 2 * FEW, DENSE, groups=8) == "onednn"


def conv(engine: str, *shape: int, groups: int = 1, kernel: str | None = None, value: int = 1) -> Any:
    weight = torch.full(shape, value, dtype=torch.int8)
    scale, bias = torch.full((shape[0],), 0.01), torch.zeros(shape[0])
    return QuantizedConv(weight, scale, bias, (1, 1), (1, 1), (1, 1), groups, engine, kernel)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch, x86: None) -> list[tuple[str, bool]]:
    """What layers are packed for, in place of being packed."""
    calls: list[tuple[str, bool]] = []
    monkeypatch.setattr(PackedLayer, "pack", lambda layer: calls.append(layer._kernel()))
    return calls


def test_safety_overrules_every_choice(packed: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    conv("x86", 16, 1, 3, 3, groups=16, kernel="fbgemm", value=127)  # FBGEMM's depthwise kernels saturate
    conv("x86", 16, 1, 3, 3, groups=16, kernel="fbgemm", value=7)
    assert packed == [("onednn", False), ("fbgemm", False)]
    packed.clear()
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    for kernel in ("fbgemm", "onednn"):
        conv("x86", 16, 4, 3, 3, kernel=kernel, value=127)
    assert packed == [("fbgemm", True), ("onednn", True)]


def test_a_kernel_that_this_build_lacks_gives_way(
    packed: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "advertised", lambda: {"fbgemm", "x86"})
    conv("x86", 16, 4, 3, 3, kernel="onednn")
    assert packed == [("x86", False)]


@pytest.mark.usefixtures("packed")
def test_only_what_is_safe_is_an_alternative() -> None:
    assert conv("x86", 16, 4, 3, 3, kernel="onednn").fxq_alternatives() == ("onednn", "fbgemm", FLOAT)
    assert conv("x86", 16, 1, 3, 3, groups=16, kernel="onednn", value=127).fxq_alternatives() == ("onednn", FLOAT)
    assert conv("fbgemm", 16, 4, 3, 3).fxq_alternatives() == ("fbgemm", FLOAT)
    assert conv("x86", 16, 4, 3, 3, kernel=FLOAT).fxq_alternatives() == (FLOAT, "x86", "fbgemm", "onednn")


def layers(engine: str) -> dict[str, tuple[Any, torch.Tensor]]:
    """A layer of each kind, and an input."""
    generator = torch.Generator().manual_seed(0)

    def weight(*shape: int) -> torch.Tensor:
        return torch.randint(-127, 128, shape, generator=generator).to(torch.int8)

    scale, bias = torch.linspace(0.001, 0.01, 16), torch.randn(16, generator=generator)
    shapes = ((2, 16, 9, 8), (3, 16), (2, 16, 9))
    codes = (torch.randint(0, 256, shape, generator=generator).to(torch.uint8) for shape in shapes)
    image, rows, signal = (torch._make_per_tensor_quantized_tensor(code, 0.02, 100) for code in codes)
    one = torch.tensor(0.005)
    return {
        "dense": (QuantizedConv(weight(16, 16, 3, 3), scale, bias, (2, 1), (1, 1), (1, 1), 1, engine), image),
        "grouped": (QuantizedConv(weight(16, 4, 3, 3), scale, bias, (1, 1), (0, 1), (2, 1), 4, engine), image),
        "depthwise": (QuantizedConv(weight(16, 1, 3, 3), scale, bias, (1, 1), (1, 1), (1, 1), 16, engine), image),
        "signal": (QuantizedConv(weight(16, 16, 3), scale, None, (1,), (1,), (1,), 1, engine), signal),
        "linear": (QuantizedLinear(weight(16, 16), scale, bias, engine), rows),
        "one scale": (QuantizedLinear(weight(16, 16), one, None, engine), rows),
        "transposed": (
            QuantizedConvTranspose(weight(16, 16, 3, 3), one, bias, (2, 2), (1, 1), (1, 1), (1, 1), 1, engine),
            image,
        ),
    }


@pytest.mark.parametrize("kind", ["dense", "grouped", "depthwise", "signal", "linear", "one scale", "transposed"])
def test_all_alternatives_give_the_same_but_for_rounding(engine: str, kind: str) -> None:
    layer, x = layers(engine)[kind]
    expected = layer(x, 0.3, 128).int_repr().int()
    names = layer.fxq_alternatives()
    assert names[-1] == FLOAT
    for name in (*names[1:], names[0]):
        layer.fxq_use(name)
        result = layer(x, 0.3, 128)
        assert result.int_repr().shape == expected.shape
        assert (result.int_repr().int() - expected).abs().max() <= 1, name
        assert layer.fxq_alternatives()[0] == name
        if result.dim() == 4:
            assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("keep", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_and_pickles_keep_the_choice(engine: str, keep: Callable[[Any], Any]) -> None:
    for layer, x in layers(engine).values():
        for name in layer.fxq_alternatives():
            layer.fxq_use(name)
            twin = keep(layer)
            assert twin.kernel == layer.kernel
            assert torch.equal(twin(x, 0.3, 128).int_repr(), layer(x, 0.3, 128).int_repr())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.squeeze = nn.Conv2d(32, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.squeeze(torch.relu(self.depthwise(x)).mean((2, 3), keepdim=True)))
        return self.head(x.flatten(1))


X = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))


def made(engine: str, **settings: Any) -> Any:
    return fxq.quantize(Net().eval(), [X], engine, **settings)


def chosen(qmodel: nn.Module) -> dict[str, str]:
    return {path: module.kernel for path, module in qmodel.named_modules() if isinstance(module, PackedLayer)}


def test_the_rule_is_applied_to_the_shapes_of_the_example(engine: str) -> None:
    rule = {"stem": "onednn", "depthwise": "onednn", "squeeze": "fbgemm", "head": "fbgemm"}
    if not torch.cpu._is_vnni_supported():
        rule["stem"] = "fbgemm"
    assert chosen(made(engine)) == (rule if engine == "x86" else dict.fromkeys(rule, engine))


def test_a_state_dict_leaves_the_choices_of_the_model_that_loads_it(engine: str) -> None:
    one, other = made(engine), made(engine)
    for module in one.modules():
        if isinstance(module, PackedLayer):
            module.fxq_use(FLOAT)
    before = chosen(other)
    other.load_state_dict(one.state_dict(), strict=True)
    assert chosen(other) == before
    one.load_state_dict(other.state_dict(), strict=True)
    assert set(chosen(one).values()) == {FLOAT}


def test_one_cache_gives_the_same_choices_without_timing(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, cache = made(engine), made(engine), fxq.TuneCache()
    expected = one(X)
    report = fxq.tune(one, X, cache=cache)
    assert {step.module for step in report.steps} == set(chosen(one))
    assert {step.module: step.choice for step in report.steps} == {
        path: module.fxq_alternatives()[0] for path, module in one.named_modules() if isinstance(module, PackedLayer)
    }
    cache.save(tmp_path / "times.json")
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("it was timed"))
    assert fxq.tune(other, X, cache=fxq.TuneCache.load(tmp_path / "times.json")) == report
    assert chosen(other) == chosen(one)
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert chosen(twin) == chosen(one)
        assert fxq.report(twin).tuning == report
        assert torch.equal(twin(X), one(X))
    # a code at each of four layers
    assert (one(X) - expected).abs().max() < 0.05 * expected.abs().max()
