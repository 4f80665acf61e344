"""The networks have the size of their papers: the counts are torchvision's and timm's, where they have them."""

from __future__ import annotations

import pytest
import torch

from speed.models import DEPTHS, MODELS, STACKS, settled, size

PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3": 2_542_856,
    "shufflenet_v2": 2_278_604,
    "squeezenet": 1_235_496,
    "densenet121": 7_978_856,
    "regnet_y": 4_344_144,
    "convnext_tiny": 28_589_128,
    "vit_tiny": 5_717_416,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_as_many_parameters_as_the_original(name: str) -> None:
    with torch.device("meta"):
        model = MODELS[name].build()
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


def test_mixed_kernels_keep_the_size() -> None:
    model = MODELS["mixnet"].build().eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 64, 64)).shape == (1, 1000)


def test_stacks_have_the_depths_they_say() -> None:
    assert [size(model)["layers"] for model in STACKS.values()] == list(DEPTHS)


def test_weights_and_inputs_are_the_same_in_every_worker() -> None:
    stack = STACKS["stack5"]
    state = torch.get_rng_state()
    first, second = settled(stack), settled(stack)
    assert all(torch.equal(first[name], second[name]) for name in first)
    one, other = stack.batches(2, 3, seed=1), stack.batches(2, 3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert one[0].shape == (3, 32, 14, 14)
    assert torch.equal(torch.get_rng_state(), state)
