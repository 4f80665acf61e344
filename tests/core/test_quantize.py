"""The whole flow on the reference engine: what goes in, what comes out."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import fxq_core as fxq

GENERATOR = torch.Generator().manual_seed(0)
X, Y, *_ = BATCHES = [torch.randn(4, 6, generator=GENERATOR) for _ in range(4)]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(6, 8)
        self.last = nn.Sequential(nn.ReLU(), nn.Linear(8, 3))
        self.names = ("cat", "dog", "cow")

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None, *, scale: float = 1.0) -> torch.Tensor:
        y = x if y is None else y
        return self.last(self.first(x) + self.second(y)) * scale


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


@dataclasses.dataclass
class Scores:
    logits: torch.Tensor
    sizes: tuple[int, ...]


class Boxes(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class Wrapped(nn.Module):
    """A network whose output has a structure."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(6, 3), kind

    def forward(self, x: torch.Tensor) -> Any:
        y = self.layer(x)
        return {
            "dict": lambda: {"logits": y, "deep": {"twice": (y, y * 2)}},
            "tuple": lambda: (y, None, 3),
            "list": lambda: [y, [x]],
            "named tuple": lambda: Boxes(y, x),
            "dataclass": lambda: Scores(y, (1, 2)),
        }[self.kind]()


class Branch(nn.Module):
    """Can't be traced; its children can."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.low(x) if x.sum() < 0 else self.high(x)


def quantize(model: Any, batches: Any, core: fxq.Registry, **how: Any) -> nn.Module:
    return fxq.quantize(model, batches, "reference", registry=core, **how)


def close(model: nn.Module, lowered: nn.Module, *args: Any, **kwargs: Any) -> bool:
    with torch.no_grad():
        wanted, got = model(*args, **kwargs), lowered(*args, **kwargs)
    return not torch.equal(got, wanted) and bool((got - wanted).abs().max() < 0.04 * wanted.abs().max())


@pytest.mark.parametrize(
    ("batches", "args", "kwargs"),
    [
        (BATCHES, (X,), {}),
        (tuple(BATCHES), (X,), {}),
        (iter(BATCHES), (X,), {}),
        ((batch for batch in BATCHES), (X,), {}),
        ([(batch,) for batch in BATCHES], (X,), {}),
        ([[batch, batch.flip(0)] for batch in BATCHES], (X, X.flip(0)), {}),
        ([{"x": batch} for batch in BATCHES], (), {"x": X}),
        ([{"y": batch, "x": batch.flip(0)} for batch in BATCHES], (), {"x": X.flip(0), "y": X}),
        ([{"x": batch, "scale": 2.0} for batch in BATCHES], (X,), {"scale": 2.0}),
    ],
)
def test_a_batch_is_a_tensor_or_arguments(
    batches: Any, args: tuple[Any, ...], kwargs: dict[str, Any], net: nn.Module, core: fxq.Registry
) -> None:
    lowered = quantize(net, batches, core)
    assert sum(row.quantized for row in fxq.report(lowered).rows) == 5
    assert close(net, lowered, *args, **kwargs)


def test_one_call_is_the_same_as_the_stages(net: nn.Module, core: fxq.Registry) -> None:
    quantizer = fxq.Quantizer(net, X, "reference", registry=core)
    with torch.no_grad():
        for batch in BATCHES:
            assert torch.equal(quantizer.observe(batch), net(batch))
    one, other = quantizer.quantize(), quantize(net, BATCHES, core)
    assert torch.equal(one(X), other(X))
    assert str(fxq.report(one)) == str(fxq.report(other))
    assert quantizer.batches == 4


def test_the_quantizer_stays_usable(net: nn.Module, core: fxq.Registry) -> None:
    quantizer = fxq.Quantizer(net, X, "reference", registry=core)
    assert quantizer.calibrate(BATCHES[:1]) is quantizer
    first = quantizer.quantize()
    before, state = first(X), {name: tensor.clone() for name, tensor in first.state_dict().items()}
    quantizer.observe(10 * Y)
    second = quantizer.quantize()
    assert torch.equal(first(X), before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in first.state_dict().items())
    assert not torch.equal(second(X), before)
    assert torch.equal(quantizer.quantize()(X), second(X))


def test_the_signature_stays(net: nn.Module, core: fxq.Registry) -> None:
    lowered = quantize(net, BATCHES, core)
    kept, wanted = inspect.signature(lowered.forward), inspect.signature(net.forward)
    assert [(p.name, p.kind, p.default) for p in kept.parameters.values()] == [
        (p.name, p.kind, p.default) for p in wanted.parameters.values()
    ]
    with torch.no_grad():
        assert torch.equal(lowered(X), lowered(x=X, y=None, scale=1.0))


def test_an_argument_that_was_fixed_in_the_example_is_guarded(net: nn.Module, core: fxq.Registry) -> None:
    lowered = quantize(net, BATCHES, core)
    with torch.no_grad():
        assert torch.equal(lowered(X, scale=1), lowered(X))  # a number may change, a flag or an absent tensor may not
    with pytest.raises(fxq.CaptureError) as caught:
        lowered(X, Y)
    assert str(caught.value) == (
        "argument 'y' was None in the example that this model was quantized with and can't become a Tensor now; "
        "quantize again with an example that gives it"
    )


@pytest.mark.parametrize("kind", ["dict", "tuple", "list", "named tuple", "dataclass"])
def test_the_structure_of_the_output_stays(kind: str, core: fxq.Registry) -> None:
    torch.manual_seed(0)
    model = Wrapped(kind).eval()
    lowered = quantize(model, BATCHES, core)
    with torch.no_grad():
        got, wanted = lowered(X), model(X)
    assert type(got) is type(wanted)
    if kind == "dict":
        assert got.keys() == wanted.keys()
        assert torch.equal(got["deep"]["twice"][1], 2 * got["logits"])
        got, wanted = got["logits"], wanted["logits"]
    elif kind == "dataclass":
        assert tuple(got.sizes) == (1, 2)
        got, wanted = got.logits, wanted.logits
    else:
        assert kind != "tuple" or got[1:] == (None, 3)
        got, wanted = got[0], wanted[0]
    assert (got - wanted).abs().max() < 0.05


def test_attributes_and_paths_stay(net: nn.Module, core: fxq.Registry) -> None:
    lowered = quantize(net, BATCHES, core)
    assert lowered.names == net.names
    assert not lowered.training
    assert lowered.get_submodule("last.1") is not None
    assert lowered.state_dict()["last.1.weight"].dtype is torch.int8


def test_below_a_root_that_cannot_be_traced_everything_is_quantized(core: fxq.Registry) -> None:
    torch.manual_seed(0)
    model = Branch().eval()
    batches = [(X - 5,), (X + 5,)]
    quantizer = fxq.Quantizer(model, (X + 5,), "reference", registry=core)
    lowered = quantizer.calibrate(batches).quantize()
    assert type(lowered) is Branch
    assert [row.module for row in fxq.report(lowered).rows if row.quantized] == ["high.0", "high.1"]
    assert close(model, lowered, X + 5)
    with torch.no_grad():
        assert torch.equal(lowered(X - 5), model(X - 5))


def test_around_a_child_that_cannot_be_traced_too(core: fxq.Registry) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), Branch(), nn.Linear(6, 2)).eval()
    lowered = quantize(model, [X + 9, X + 8], core)
    quantized = {row.module for row in fxq.report(lowered).rows if row.quantized}
    assert quantized >= {"0", "2"}
    assert any(module.startswith("1.") for module in quantized)
    assert close(model, lowered, X + 9)


class Unreadable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sigmoid() if x.sum() < 1e9 else x


@pytest.mark.parametrize("make", [nn.Sigmoid, Unreadable])
def test_a_model_with_nothing_to_quantize_works_and_says_so(make: Any, core: fxq.Registry) -> None:
    model, x = make().eval(), torch.randn(2, 3)
    with pytest.warns(fxq.NothingQuantizedWarning) as caught:
        qmodel = fxq.quantize(model, [x], "reference", registry=core)
    assert [str(warning.message) for warning in caught] == [
        f"nothing of {make.__name__} is in int8 on engine 'reference': the result is a copy that computes in float; "
        "print(fxq_core.report(qmodel)) says why"
    ]
    assert caught[0].filename == __file__
    assert torch.equal(qmodel(x), model(x))
    assert "0 of " in str(fxq.report(qmodel))


def test_one_int8_node_is_enough_for_silence(core: fxq.Registry) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fxq.quantize(
            nn.Sequential(nn.Linear(3, 3), Unreadable()).eval(), [torch.randn(32, 3)], "reference", registry=core
        )


def test_code_without_a_module_can_be_warned(core: fxq.Registry) -> None:
    namespace = {"fxq": fxq, "model": nn.Linear(3, 3).eval(), "batch": torch.randn(2, 3), "core": core}
    with pytest.warns(fxq.FewSamplesWarning) as caught:
        exec('fxq.quantize(model, [batch], "reference", registry=core)', {**namespace, "__builtins__": {}})
    assert [warning.filename for warning in caught] == ["<string>"]
