"""Batch norm goes into the layer before it, exactly, or stays a layer."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fxq_core.capture.folding import fold

from support.quantizing import captured

SHAPES = {1: (6,), 2: (6, 5), 3: (4, 4, 4)}
CONVS: Any = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS: Any = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def trained(norm: Any) -> Any:
    """A batch norm as it comes out of training: nothing about it is 0 or 1."""
    if norm.running_mean is not None:
        norm.running_mean.normal_(0, 3)
        norm.running_var.uniform_(0.1, 5)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm.eval()


class Net(nn.Module):
    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def norms_left(result: Any) -> int:
    modules = dict(result.root.named_modules())
    calls = [modules[n.target] for n in result.root.graph.nodes if n.op == "call_module"]
    return sum(isinstance(module, nn.BatchNorm2d) for module in calls)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_folds_into_a_convolution(dims: int, affine: bool, bias: bool) -> None:
    torch.manual_seed(0)
    conv, norm = CONVS[dims](4, 6, 3, groups=2, bias=bias), trained(NORMS[dims](6, affine=affine, eps=0.01))
    result = captured(nn.Sequential(conv, norm), torch.randn(2, 4, *SHAPES[dims]))
    assert result.folded == {"1": "folded into 0"}
    assert [n.op for n in result.parts[""].graph.nodes] == ["placeholder", "call_module", "output"]


def test_it_is_folded_in_float64() -> None:
    torch.manual_seed(0)
    layer, norm = nn.Linear(5, 7), trained(nn.BatchNorm1d(7))
    x = torch.randn(16, 5)
    merged: Any = fold(layer, norm)
    exact = norm.double()(layer.double()(x.double()))
    assert torch.allclose(merged.double()(x.double()), exact, rtol=1e-6, atol=1e-5)
    assert layer.weight.dtype is torch.float64  # the parts themselves are not the copy's
    assert merged.weight is not layer.weight


def test_a_linear_layer_takes_a_norm_over_its_features_only() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), trained(nn.BatchNorm1d(6)))
    assert captured(model, torch.randn(3, 5)).folded == {"1": "folded into 0"}
    result = captured(model, torch.randn(3, 6, 5))  # here the norm is over dimension 1, the layer's features are last
    assert result.folded == {}


def test_a_norm_over_the_length_of_an_unbatched_signal_stays() -> None:
    torch.manual_seed(0)
    # (8, 8): eight channels of eight samples, which the norm takes for eight rows of eight features
    model = nn.Sequential(nn.Conv1d(3, 8, 1), trained(nn.BatchNorm1d(8)))
    assert captured(model, torch.randn(3, 8)).folded == {}


def test_two_norms_on_one_convolution_stay() -> None:
    class Split(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.one(y) + self.two(y)

    torch.manual_seed(0)
    modules = {name: trained(nn.BatchNorm2d(4)) for name in ("one", "two")}
    result = captured(Split(conv=nn.Conv2d(3, 4, 1), **modules), torch.randn(2, 3, 4, 4))
    assert result.folded == {}
    assert norms_left(result) == 2


def test_one_norm_after_two_convolutions_folds_into_both() -> None:
    class Joined(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.one(x)) + self.norm(self.two(x))

    torch.manual_seed(0)
    convs = {name: nn.Conv2d(3, 4, 1) for name in ("one", "two")}
    result = captured(Joined(**convs, norm=trained(nn.BatchNorm2d(4))), torch.randn(2, 3, 4, 4))
    assert result.folded == {"norm": "folded into two"}
    assert norms_left(result) == 0


def test_a_convolution_that_is_also_called_without_its_norm_keeps_its_weights() -> None:
    class Both(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(F.relu(self.norm(self.conv(x)))) + self.other(self.conv(x))

    torch.manual_seed(0)
    modules = {"norm": trained(nn.BatchNorm2d(3)), "other": trained(nn.BatchNorm2d(3))}
    result = captured(Both(conv=nn.Conv2d(3, 3, 1), **modules), torch.randn(2, 3, 4, 4))
    assert result.folded == {"norm": "folded into conv_1", "other": "folded into conv_2"}


def test_layers_of_different_parents_fold() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1)), nn.Identity())
    head = nn.Sequential(nn.Sequential(trained(nn.BatchNorm2d(4))), nn.ReLU(inplace=True))
    result = captured(nn.Sequential(body[0], head), torch.randn(2, 3, 4, 4))
    assert result.folded == {"1.0.0": "folded into 0.0"}


def test_a_functional_norm_after_a_functional_convolution_folds() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
            self.register_buffer("mean", torch.randn(4))
            self.register_buffer("var", torch.rand(4) + 0.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.batch_norm(F.conv2d(x, self.weight, padding="same"), self.mean, self.var)

    torch.manual_seed(0)
    assert list(captured(Functional(), torch.randn(2, 3, 4, 4)).folded) == ["mean_batch_norm"]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_folds_into_a_transposed_convolution(dims: int, groups: int) -> None:
    torch.manual_seed(0)
    kinds: Any = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
    model = nn.Sequential(kinds[dims](4, 6, 3, groups=groups), trained(NORMS[dims](6, eps=0.01)))
    assert captured(model, torch.randn(2, 4, *SHAPES[dims])).folded == {"1": "folded into 0"}


@pytest.mark.parametrize(
    ("before", "norm"),
    [
        (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), nn.BatchNorm2d(4)),
        (nn.Identity(), nn.BatchNorm2d(3)),
    ],
)
def test_what_follows_no_layer_or_has_no_statistics_stays(before: nn.Module, norm: nn.Module) -> None:
    torch.manual_seed(0)
    result = captured(nn.Sequential(before, trained(norm)), torch.randn(2, 3, 4, 4))
    assert (result.folded, norms_left(result)) == ({}, 1)


@pytest.mark.parametrize("hooked", [0, 1])
def test_what_has_hooks_stays(hooked: int) -> None:
    torch.manual_seed(0)
    calls: list[int] = []
    model = nn.Sequential(nn.Conv2d(3, 4, 1), trained(nn.BatchNorm2d(4)))
    model[hooked].register_forward_hook(lambda *_: calls.append(1))
    assert norms_left(captured(model, torch.randn(2, 3, 4, 4))) == 1


def test_unfolded_weights_are_let_go_as_folding_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    unfolded: list[Any] = []

    def watched(layer: Any, norm: Any) -> nn.Module:
        assert not any(weight() is not None for weight in unfolded)
        unfolded.append(weakref.ref(layer.weight))
        return fold(layer, norm)

    monkeypatch.setattr("fxq_core.capture.folding.fold", watched)
    layers = [module for _ in range(4) for module in (nn.Conv2d(4, 4, 1), trained(nn.BatchNorm2d(4)))]
    captured(nn.Sequential(*layers).eval(), torch.randn(1, 4, 4, 4))
    assert len(unfolded) == 4


def test_a_norm_after_the_norm_of_shared_layers_is_folded_into_each_call_of_its_own() -> None:
    class Shared(Net):
        def forward(self, x: Any) -> Any:
            first, second = self.norm(self.conv(x)), self.norm(self.conv(x + 1))
            return self.after(first), self.after(second), self.other(self.norm(self.conv(x + 2)))

    torch.manual_seed(0)
    norms = {name: trained(nn.BatchNorm2d(4)) for name in ("norm", "after", "other")}
    model, x = Shared(conv=nn.Conv2d(4, 4, 1), **norms).eval(), torch.randn(2, 4, 5, 5)
    result = captured(model, x)
    assert norms_left(result) == 0
    for got, wanted in zip(result.root(x), model(x), strict=True):
        assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-4)
