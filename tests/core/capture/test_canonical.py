"""However a layer is written, the graph holds torch's own module for it, and computes the same."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

from support.graphs import CONVS, SIZES, Written, layers
from support.quantizing import captured, error, patterns, quantized


# torch warns that it pads by copying; that is what these paddings are
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [0, 2, "valid", "same"])
def test_paddings_become_numbers(padding: Any, mode: str, dims: int) -> None:
    torch.manual_seed(0)
    for kernel, dilation in itertools.product((1, 2, 3), (1, 2)):
        conv: Any = CONVS[dims][0](3, 4, kernel, padding=padding, dilation=dilation, padding_mode=mode)
        x = torch.randn(2, 3, *SIZES[dims])
        (plain,) = layers(captured(nn.Sequential(conv), x).root)
        assert (type(plain), plain.padding_mode) == (type(conv), "zeros")
        assert all(isinstance(number, int) for number in plain.padding)


@pytest.mark.parametrize("padding", [(0, 1), (2, 1), "same"])
@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_paddings_may_differ_by_dimension(padding: Any, mode: str) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, (2, 3), padding=padding, dilation=(3, 1), padding_mode=mode)
    captured(nn.Sequential(conv), torch.randn(2, 3, 9, 8))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 2, padding="same", padding_mode="reflect")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.relu(self.conv(x)))


def test_a_convolution_with_its_own_padding_may_be_called_twice() -> None:
    torch.manual_seed(0)
    model, x = Twice().eval(), torch.randn(2, 3, 6, 6)
    assert len(layers(captured(model, x).root)) == 2
    lowered = quantized(model, x)
    assert list(patterns(lowered).values()).count("conv2d") == 1
    assert error(model, lowered, x) < 0.02


def test_a_convolution_with_its_own_padding_keeps_its_path_for_all_its_calls() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(Twice(), nn.Conv2d(3, 3, 1)), torch.randn(2, 3, 6, 6)
    lowered = quantized(model, x, config=fxq.Config(skip=("0.conv",)))
    assert list(patterns(lowered).values()).count("conv2d") == 1


def test_a_subclass_with_its_own_forward_is_traced_into() -> None:
    class Scaled(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self._conv_forward(3 * x, self.weight, self.bias) + 1

    class Renamed(nn.Linear):
        pass

    torch.manual_seed(0)
    for mode in ("zeros", "circular"):
        model = nn.Sequential(Scaled(3, 4, 3, padding=1, padding_mode=mode), nn.Flatten(), Renamed(64, 5)).eval()
        x = torch.randn(2, 3, 4, 4)
        assert [type(layer) for layer in layers(captured(model, x).root)] == [nn.Conv2d, nn.Flatten, nn.Linear]
        lowered = quantized(model, x)
        assert {"conv2d", "linear"} <= set(patterns(lowered).values())
        assert error(model, lowered, x) < 0.02


def test_a_view_becomes_a_reshape_but_not_where_it_changes_the_type() -> None:
    model = Written(lambda m, x: x.view(2, -1).view((6,)).view(torch.int32).view(x.shape))
    graph: Any = captured(model, torch.randn(2, 3)).root
    assert [n.target for n in graph.graph.nodes if n.op == "call_method"] == ["reshape", "reshape", "view", "reshape"]
