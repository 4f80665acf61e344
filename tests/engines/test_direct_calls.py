"""The kernels are called without a way round; nobody but a stopwatch can tell."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.native.layers import QuantizedConv

X = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Convolutions that feed one another, a sum, a transposed one, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        return self.head(self.up(x + torch.relu(x)).mean((2, 3)))


def made(engine: str, registry: fxq.Registry, seed: int = 0, scale: float = 1.0) -> nn.Module:
    torch.manual_seed(seed)
    return fxq.quantize(Net().eval(), [scale * X], engine, registry=registry)


def outputs(module: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return module(X)


def by_module(module: nn.Module) -> tuple[torch.Tensor, list[str]]:
    """What a module gives while a hook watches each of its layers, and which of them were called."""
    names: list[str] = []
    layers = {name: layer for name, layer in module.named_modules() if "weight" in dict(layer.named_buffers())}
    handles = [
        layer.register_forward_hook(lambda *_, name=name: names.append(name)) for name, layer in layers.items() if name
    ]
    try:
        return outputs(module), names
    finally:
        for handle in handles:
            handle.remove()


def test_it_gives_the_same_as_module_by_module(engine: str, registry: fxq.Registry) -> None:
    lowered = made(engine, registry)
    expected = outputs(lowered)
    seen, names = by_module(lowered)
    assert torch.equal(seen, expected)
    assert names == ["body.0", "body.2", "body.3", "up", "head"]
    assert torch.equal(outputs(lowered), expected)


def test_what_is_loaded_is_used(engine: str, registry: fxq.Registry) -> None:
    lowered, other = made(engine, registry), made(engine, registry, 1, 9.0)
    expected = outputs(other)
    assert not torch.equal(outputs(lowered), expected)
    lowered.load_state_dict(other.state_dict())
    assert torch.equal(outputs(lowered), expected)
    assert torch.equal(by_module(lowered)[0], expected)
    for twin in (copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):
        assert torch.equal(outputs(twin), expected)


@pytest.mark.parametrize("path", ["body.0", "body.2", "up", "head"])
def test_what_one_layer_loads_is_used(engine: str, path: str, registry: fxq.Registry) -> None:
    lowered, other = made(engine, registry), made(engine, registry, 1)
    before = outputs(lowered)
    lowered.get_submodule(path).load_state_dict(other.get_submodule(path).state_dict())
    after = outputs(lowered)
    assert not torch.equal(after, before)
    assert torch.equal(by_module(lowered)[0], after)


@pytest.mark.parametrize("path", ["body.0", "body.2", "up", "head"])
def test_a_layer_of_another_model_is_used(engine: str, path: str, registry: fxq.Registry) -> None:
    lowered, other = made(engine, registry), made(engine, registry, 1)
    before = outputs(lowered)
    lowered.set_submodule(path, other.get_submodule(path))
    after = outputs(lowered)
    assert not torch.equal(after, before)
    assert torch.equal(by_module(lowered)[0], after)
    assert torch.equal(outputs(copy.deepcopy(lowered)), after)


@pytest.mark.parametrize("position", [0, 2, 3])
def test_a_forward_set_on_a_layer_is_used(engine: str, position: int, registry: fxq.Registry) -> None:
    lowered = made(engine, registry)
    before = outputs(lowered)
    layer, calls = lowered.get_submodule(f"body.{position}"), list[float]()
    kept = layer.forward

    def forward(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
        calls.append(scale)
        return kept(x, scale, zero_point)

    layer.forward = forward
    assert torch.equal(outputs(lowered), before)
    assert len(calls) == 1
    del layer.forward
    assert torch.equal(outputs(lowered), before)
    assert len(calls) == 1


REFUSED = (
    "this convolution takes {channels} channels in 4 dimensions, but was given a tensor of shape {shape}; "
    "give it the inputs that the float model takes"
)


def test_a_wrong_shape_never_reaches_a_kernel(engine: str, registry: fxq.Registry) -> None:
    lowered = made(engine, registry)
    outputs(lowered)
    for shape in ((2, 4, 10, 10), (3, 10, 10), (2, 3, 10)):
        with pytest.raises(fxq.InputError) as caught, torch.no_grad():
            lowered(torch.rand(shape))
        assert str(caught.value) == REFUSED.format(channels=3, shape=shape)


@pytest.mark.parametrize("position", [0, 2])
def test_a_layer_that_gives_another_shape_is_found_out(engine: str, position: int, registry: fxq.Registry) -> None:
    lowered = made(engine, registry)
    outputs(lowered)
    inputs = {0: 3, 2: 8}[position]
    narrow = nn.Sequential(nn.Conv2d(inputs, 6, 1)).eval()
    other = fxq.quantize(narrow, [torch.rand(2, inputs, 10, 10)], engine, registry=registry)
    lowered.set_submodule(f"body.{position}", other.get_submodule("0"))
    for twin in (lowered, copy.deepcopy(lowered)):
        with pytest.raises(fxq.InputError) as caught:
            outputs(twin)
        assert str(caught.value) == REFUSED.format(channels=8, shape=(2, 6, 10, 10))


def test_a_layer_that_was_narrowed_in_place_is_found_out(engine: str, registry: fxq.Registry) -> None:
    lowered = made(engine, registry)
    outputs(lowered)
    layer = lowered.get_submodule("body.2")
    assert isinstance(layer, QuantizedConv)
    layer.weight, layer.weight_scale, layer.bias = layer.weight[:6], layer.weight_scale[:6], layer.bias[:6]
    layer.pack()
    with pytest.raises(fxq.InputError) as caught:
        outputs(lowered)
    assert str(caught.value) == REFUSED.format(channels=8, shape=(2, 6, 10, 10))


def test_a_convolution_that_could_be_given_too_little_is_not_called_unchecked(
    engine: str, registry: fxq.Registry
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, (3, 1))).eval()
    lowered = fxq.quantize(net, [X], engine, registry=registry)
    assert not lowered.get_submodule("1").fxq_trusts(lowered.get_submodule("0"))
    with pytest.raises(fxq.InputError) as caught:
        lowered(X[:, :, :2])
    assert str(caught.value) == (
        "this convolution takes inputs of at least (3, 1), but was given a tensor of shape (2, 4, 2, 10); give it the "
        "inputs that the float model takes"
    )
