"""The gallery's networks are sound before anybody quantizes them: alive, deterministic, small, and past their start."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from gallery import GALLERY, trained
from gallery.statistics import call


@pytest.fixture(scope="module", params=GALLERY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name: str) -> nn.Module:
    return trained(GALLERY[name])


def tensors(model: nn.Module, name: str, batch: int, seed: int = 1) -> list[torch.Tensor]:
    """The float tensors of the output for one batch, in order."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        output = call(model, GALLERY[name].inputs(batch))
    return [leaf for leaf in tree_leaves(output) if leaf.is_floating_point()]


def test_takes_any_batch_size(model: nn.Module, name: str) -> None:
    for batch in (1, 2, 3):
        outputs = tensors(model, name, batch)
        assert outputs
        for output in outputs:
            assert output.shape[0] == batch
            assert output.isfinite().all()


def test_the_output_depends_on_the_input(model: nn.Module, name: str) -> None:
    for output in tensors(model, name, 16):
        size = output.square().mean().sqrt()
        assert size > 0.005
        assert output.std(dim=0).square().mean().sqrt() > 0.05 * size


def test_is_deterministic(model: nn.Module, name: str) -> None:
    again = trained(GALLERY[name])
    for key, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    for first, second in zip(tensors(model, name, 2), tensors(again, name, 2), strict=True):
        assert torch.equal(first, second)


def test_the_seed_decides_the_weights(model: nn.Module, name: str) -> None:
    other = trained(GALLERY[name], seed=1)
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_the_global_generator_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    trained(GALLERY[name])
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_stands_where_it_started(model: nn.Module) -> None:
    assert not any(module.training for module in model.modules())
    for path, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            assert module.momentum == 0.1, path
            assert module.num_batches_tracked > 0, path
            assert not module.running_mean.eq(0).any(), path
            assert module.running_var.ne(1).all(), path
            assert module.weight.std() > 0.05, path
    for path, parameter in model.named_parameters():
        assert parameter.ne(0).any(), path
        assert parameter.unique().numel() > 1, path


def test_the_statistics_are_those_of_the_data(model: nn.Module, name: str) -> None:
    """A batch norm in front of its weight and bias gives about mean 0 and variance 1 on data it has not seen."""
    seen: dict[str, torch.Tensor] = {}
    hooks = []
    for path, module in model.named_modules():
        if isinstance(module, _BatchNorm):

            def watch(norm: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor, path: str = path) -> None:
                shape = (-1,) + (1,) * (output.ndim - 2)
                seen[path] = (output.detach() - norm.bias.view(shape)) / norm.weight.view(shape)

            hooks.append(module.register_forward_hook(watch))
    tensors(model, name, 32)
    for hook in hooks:
        hook.remove()
    for path, value in seen.items():
        assert value.mean().abs() < 0.3, path
        assert 0.6 < value.square().mean() < 1.6, path


def test_is_small(name: str) -> None:
    model = GALLERY[name].build()
    assert sum(parameter.numel() for parameter in model.parameters()) < 3_000_000
    assert "fxq" not in inspect.getsource(type(model))
