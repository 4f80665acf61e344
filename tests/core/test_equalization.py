from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import fx, nn

import fxq_core as fxq
from fxq_core.equalization import equalize

from support.quantizing import quantizer, run

X = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))
EQUALIZE = fxq.Config(equalize=True)
NOTE = "its output channels are equalized with the input channels of"


class Pair(nn.Module):
    """Two layers and what is between; ``step`` computes it all."""

    def __init__(self, first: nn.Module, second: nn.Module, step: Any) -> None:
        super().__init__()
        self.first, self.second, self.step = first, second, step
        self.pool, self.prelu = nn.MaxPool2d(2), nn.PReLU(8)
        with torch.no_grad():
            for layer in (first, second):
                layer.weight *= torch.exp(2 * torch.randn(layer.weight.shape[:2])).reshape(
                    *layer.weight.shape[:2], *[1] * (layer.weight.dim() - 2)
                )

    def forward(self, x: torch.Tensor) -> Any:
        return self.step(self, x)


def pair(step: Any = lambda m, x: m.second(F.relu(m.first(x))), *layers: nn.Module) -> Pair:
    torch.manual_seed(0)
    return Pair(*(layers or (nn.Conv2d(4, 8, 3), nn.Conv2d(8, 6, 3))), step)


def pairs(model: nn.Module, config: fxq.Config = EQUALIZE, x: torch.Tensor = X) -> list[tuple[str, str]]:
    """The nodes of the layers that are equalized with each other, all parts together."""
    plan = quantizer(model, x, config=config).plan
    return [(first.name, second.name) for part in plan.parts for first, second in part.equalized]


LAYERS = {
    "dense": lambda: (nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1, stride=2)),
    "into a depthwise one": lambda: (nn.Conv2d(4, 8, 1), nn.Conv2d(8, 16, 3, groups=8)),
    "out of a depthwise one": lambda: (nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 6, 1, bias=False)),
    "grouped": lambda: (nn.Conv2d(4, 8, 3, groups=2, bias=False), nn.Conv2d(8, 12, 3, groups=4)),
    "transposed": lambda: (nn.ConvTranspose2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 6, 2, groups=2)),
    "mixed": lambda: (nn.Conv2d(4, 8, 3), nn.ConvTranspose2d(8, 6, 3, stride=2)),
    "linear": lambda: (nn.Linear(9, 8), nn.Linear(8, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_network_computes_the_same_to_the_last_bit_and_its_ranges_meet(name: str) -> None:
    torch.manual_seed(0)
    model = Pair(*LAYERS[name](), lambda m, x: m.second(F.relu(m.first(x))))
    before = copy.deepcopy(model.state_dict())
    q = quantizer(model, X, config=EQUALIZE)
    assert torch.equal(run(q.prepared, X), run(model, X))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    made, taken = (ranges(model.get_submodule(n), n == "second") for n in ("first", "second"))
    part = q.plan.parts[0].graph_module
    even_made, even_taken = (ranges(part.get_submodule(n), n == "second") for n in ("first", "second"))
    assert (made / taken).log2().abs().max() > 2
    assert (even_made / even_taken).log2().abs().max() <= 1
    assert torch.allclose(even_made * even_taken, made * taken, rtol=1e-6)


def ranges(layer: Any, inputs: bool) -> torch.Tensor:
    """The largest weight of each channel, found by asking which weights a channel meets."""
    channels = layer.weight.shape[0 if inputs == isinstance(layer, nn.ConvTranspose2d) else 1]
    weight = layer.weight.detach().abs()
    groups = getattr(layer, "groups", 1)
    if inputs == isinstance(layer, nn.ConvTranspose2d):
        return weight.flatten(1).amax(1)
    blocks = weight.split(len(weight) // groups)
    return torch.stack([block[:, c].max() for block, c in itertools.product(blocks, range(channels))])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-8, 8), min_size=8, max_size=8), st.sampled_from(sorted(LAYERS)))
def test_how_the_scale_was_split_before_does_not_matter(powers: list[int], name: str) -> None:
    torch.manual_seed(0)
    model = Pair(*LAYERS[name](), lambda m, x: m.second(F.relu(m.first(x))))
    other = copy.deepcopy(model)
    scaled(other, torch.tensor(powers).double().exp2())
    assert torch.equal(run(other, X), run(model, X))
    parts = [quantizer(m, X, config=EQUALIZE).plan.parts[0].graph_module for m in (model, other)]
    ours, theirs = (part.state_dict() for part in parts)
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def scaled(model: Pair, factor: torch.Tensor) -> None:
    """Divide the channels between the two layers by a factor and multiply them again, row by row."""
    first, second = (copy.deepcopy(layer).double() for layer in (model.first, model.second))
    with torch.no_grad():
        for layer, outputs in ((first, True), (second, False)):
            groups, weight = getattr(layer, "groups", 1), layer.weight
            blocks = factor.reshape(groups, -1)
            leading = outputs != isinstance(layer, nn.ConvTranspose2d)
            for group, block in enumerate(weight.split(len(weight) // groups)):
                rest = [1] * (weight.dim() - 2)
                along = blocks[group].reshape(-1, 1, *rest) if leading else blocks[group].reshape(1, -1, *rest)
                block *= 1 / along if outputs else along
        if first.bias is not None:
            first.bias /= factor
    model.first.load_state_dict(first.float().state_dict())
    model.second.load_state_dict(second.float().state_dict())


HOMOGENEOUS: dict[str, Any] = {
    "nothing": lambda m, x: m.second(m.first(x)),
    "relu": lambda m, x: m.second(F.relu(m.first(x))),
    "clamp from below": lambda m, x: m.second(m.first(x).clamp(min=0)),
    "clamp from above": lambda m, x: m.second(m.first(x).clamp(max=0.0)),
    "leaky relu": lambda m, x: m.second(F.leaky_relu(m.first(x), 0.2)),
    "pools": lambda m, x: m.second(F.avg_pool2d(m.pool(F.relu(m.first(x))), 1)),
    "dropout": lambda m, x: m.second(F.dropout(m.first(x), training=False)),
}
OTHERS: dict[str, Any] = {
    "relu6": lambda m, x: m.second(F.relu6(m.first(x))),
    "clamp elsewhere": lambda m, x: m.second(m.first(x).clamp(min=-1)),
    "hardswish": lambda m, x: m.second(F.hardswish(m.first(x))),
    "sigmoid": lambda m, x: m.second(torch.sigmoid(m.first(x))),
    "an op in float": lambda m, x: m.second(F.celu(m.first(x))),
    "another use": lambda m, x: (lambda y: m.second(y) + y.mean())(F.relu(m.first(x))),
    "the same value twice": lambda m, x: (lambda y: m.second(y + y))(m.first(x)),
    "an output": lambda m, x: (lambda y: (m.second(y), y))(F.relu(m.first(x))),
    "a sum": lambda m, x: m.second(F.relu(m.first(x)) + 1.5),
    "channels that move": lambda m, x: m.second(m.first(x).flip(1)),
    "a bias that is read": lambda m, x: m.second(F.relu(m.first(x))) + (x.mean() * m.first.bias).mean(),
    "a pool over channels": lambda m, x: m.second(F.avg_pool3d(m.first(x), (3, 1, 1), 1, (1, 0, 0))),
    "several calls of the first": lambda m, x: m.second(F.relu(m.first(x))) + m.first(x).mean(),
    "several calls of the second": lambda m, x: m.second(F.relu(m.first(x))) + m.second(x.repeat(1, 2, 1, 1)).mean(),
}


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_what_is_homogeneous_is_passed(name: str) -> None:
    model = pair(HOMOGENEOUS[name])
    q = quantizer(model, X, config=EQUALIZE)
    assert q.plan.notes == {"first": f"{NOTE} second"}
    assert f"first: {NOTE} second" in str(q.plan).splitlines()
    assert torch.equal(run(q.prepared, X), run(model, X))


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_left_alone(name: str) -> None:
    model = pair(OTHERS[name])
    q = quantizer(model, X, config=EQUALIZE)
    assert q.plan.notes == {}
    kept = q.plan.parts[0].graph_module.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in model.state_dict().items() if name in kept)


def test_nothing_is_equalized_unless_the_config_says_so() -> None:
    assert pairs(pair(), fxq.Config()) == []
    assert pairs(pair()) == [("first", "second")]


@pytest.mark.parametrize("where", ["first", "second"])
def test_what_the_config_keeps_in_float_is_left_alone(where: str) -> None:
    assert pairs(pair(), fxq.Config(skip=(where,), equalize=True)) == []


def test_a_module_that_two_paths_lead_to_is_left_alone() -> None:
    model = pair(lambda m, x: m.second(F.relu(m.first(x))) + m.again(x).mean())
    model.again = model.first
    assert pairs(model) == []


def test_a_tensor_that_others_hold_too_is_theirs() -> None:
    model = pair(lambda m, x: m.second(F.relu(m.first(x))) + m.tied(x).mean())
    model.tied = nn.Conv2d(4, 8, 3)
    model.tied.weight = model.first.weight
    q = quantizer(model, X, config=EQUALIZE)
    assert q.plan.notes == {"first": f"{NOTE} second"}
    assert torch.equal(run(q.prepared, X), run(model, X))


def test_a_linear_layer_after_a_convolution_has_other_channels() -> None:
    assert pairs(pair(lambda m, x: m.second(m.first(x)), nn.Conv2d(4, 8, 3), nn.Linear(7, 5))) == []


def test_dead_channels_stay() -> None:
    model = pair()
    with torch.no_grad():
        model.first.weight[0], model.second.weight[:, 1] = 0, 0
        model.first.weight[2], model.second.weight[:, 3] = 1e-30, 1e-30
        model.first.weight[4], model.second.weight[:, 4] = 2.0**-16, 1.0
    part = quantizer(model, X, config=EQUALIZE).plan.parts[0].graph_module
    for channel in range(4):
        ours, theirs = ((m.first.weight[channel], m.second.weight[:, channel]) for m in (part, model))
        assert all(map(torch.equal, ours, theirs))
    assert part.first.weight[4].tolist() == torch.full((4, 3, 3), 2.0**-8).tolist()


def test_what_is_not_finite_stays() -> None:
    layers = nn.Linear(2, 3), nn.Linear(3, 2)
    with torch.no_grad():
        layers[0].weight.copy_(torch.tensor([[float("inf"), 1.0], [float("nan"), 1.0], [16.0, 1.0]]))
        layers[1].weight.fill_(1.0)
    graph = fx.Graph()
    nodes = [graph.call_module(name, (graph.placeholder(f"x{name}"),)) for name in "01"]
    equalize(nn.Sequential(*layers), [(nodes[0], nodes[1])])
    assert layers[0].weight[2].tolist() == [4.0, 0.25]
    assert layers[1].weight.tolist() == [[1.0, 1.0, 4.0]] * 2
