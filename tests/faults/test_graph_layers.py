"""G4, G7 to G12: in-place ops, geometries, paddings, groups, and how arguments are written."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.testing.agreement import Agreement

from support.quantizing import error, int8, quantized

IMAGES = torch.randn(32, 4, 7, 6, generator=torch.Generator().manual_seed(1))


class After(nn.Module):
    """A convolution, and some ops on its result."""

    def __init__(self, op: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.op = nn.Conv2d(4, 4, 1), op
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> Any:
        return self.op(self, self.conv(x))


IN_PLACE: dict[str, Callable[..., Any]] = {
    "relu_": lambda self, y: (y.relu_(), y + 1.0)[1],
    "add_": lambda self, y: y.add_(y.relu()) * y,
    "+=": lambda self, y: operator.iadd(y, y.mean((2, 3), keepdim=True)) + y,
    "module": lambda self, y: self.relu(y) + y,
    "clamp_": lambda self, y: (y.clamp_(0, 6), y)[1],
    "view": lambda self, y: (y.view(-1).mul_(2.0), y)[1],
}


@pytest.mark.parametrize("case", IN_PLACE)
def test_G4_later_readers_see_what_was_written(case: str) -> None:
    net = After(IN_PLACE[case], relu=nn.ReLU(inplace=True))
    qmodel = quantized(net, IMAGES)
    assert error(net, qmodel, IMAGES) < 0.05
    assert "conv2d" in "".join(int8(qmodel))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, (2, 3)])
@pytest.mark.parametrize("padding", [0, (2, 1), "valid", "same"])
@pytest.mark.parametrize("dilation", [1, (1, 2)])
def test_G7_every_geometry_is_within_one_code(
    groups: int, stride: Any, padding: Any, dilation: Any, engine: str, registry: fxq.Registry
) -> None:
    if padding == "same" and stride != 1:
        pytest.skip("torch has no such convolution")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 8, (2, 3), stride, padding, dilation, groups)).eval()
    q = fxq.Quantizer(net, IMAGES, engine, registry=registry).calibrate([IMAGES])
    agreement = Agreement(q)
    assert agreement.lowered(IMAGES).shape == net(IMAGES).shape
    assert all(difference.codes <= 1 for difference in agreement.differences(IMAGES).values())
    assert "conv2d" in int8(agreement.lowered)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["valid", "same", (2, 1)])
def test_G8_every_padding_mode_is_right(mode: str, padding: Any, engine: str, registry: fxq.Registry) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 8, (2, 3), padding=padding, padding_mode=mode)).eval()
    qmodel = fxq.quantize(net, [IMAGES], engine, registry=registry)
    assert qmodel(IMAGES).shape == net(IMAGES).shape
    assert "conv2d" in int8(qmodel)
    assert error(net, qmodel, IMAGES) < 0.05


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("output_padding", [0, 1])
def test_G9_transposed_convolutions_work(groups: int, output_padding: int, engine: str, registry: fxq.Registry) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding, groups)).eval()
    q = fxq.Quantizer(net, IMAGES, engine, registry=registry).calibrate([IMAGES])
    agreement = Agreement(q)
    assert agreement.lowered(IMAGES).shape == net(IMAGES).shape
    assert all(difference.codes <= 1 for difference in agreement.differences(IMAGES).values())


def test_G10_more_groups_than_an_int16_counts(engine: str, registry: fxq.Registry) -> None:
    channels = 2**15 + 8
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, channels, 1, groups=channels, bias=False)).eval()
    x = torch.randn(2, channels, 2, 2)
    agreement = Agreement(fxq.Quantizer(net, x, engine, registry=registry).calibrate([x]))
    assert int8(agreement.lowered) == ["conv2d"]
    assert all(difference.codes <= 1 for difference in agreement.differences(x).values())
    # a Python number, which travels whole where torch's own format keeps an int16
    assert pickle.loads(pickle.dumps(agreement.lowered)).get_submodule("0").groups == channels


SPELLINGS: dict[str, Callable[..., Any]] = {
    "keywords": lambda self, y: torch.add(other=y, input=F.relu(input=y, inplace=False)),
    "defaults": lambda self, y: F.max_pool2d(y, 2),
    "by name": lambda self, y: F.max_pool2d(input=y, kernel_size=2, stride=1, ceil_mode=True),
    "constant": lambda self, y: y + self.offset,
    "splatted": lambda self, y: torch.cat(*([y, y], 1)),
    "splatted names": lambda self, y: torch.flatten(y, start_dim=1),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_G11_arguments_count_however_they_are_written(case: str) -> None:
    net = After(SPELLINGS[case])
    net.register_buffer("offset", torch.linspace(-1, 1, 4).reshape(4, 1, 1))
    qmodel = quantized(net, IMAGES)
    assert "conv2d" in "".join(int8(qmodel))
    assert error(net, qmodel, IMAGES) < 0.05


SUMS: dict[str, Callable[..., Any]] = {
    "broadcast": lambda self, y: y + y.mean((2, 3), keepdim=True),
    "the other way": lambda self, y: y.mean((2, 3), keepdim=True) + y,
    "scalar": lambda self, y: y + 3,
    "scalar first": lambda self, y: 0.5 + y,
    "itself": lambda self, y: y + y,
    "product": lambda self, y: y * y.mean((2, 3), keepdim=True),
    "with a ReLU": lambda self, y: F.relu(y + y.mean((2, 3), keepdim=True)),
}


@pytest.mark.parametrize("case", SUMS)
def test_G12_operands_of_any_shape_are_added(case: str, engine: str, registry: fxq.Registry) -> None:
    net = After(SUMS[case]).eval()
    q = fxq.Quantizer(net, IMAGES, engine, registry=registry).calibrate([IMAGES])
    agreement = Agreement(q)
    assert agreement.lowered(IMAGES).shape == net(IMAGES).shape
    assert all(difference.codes <= 1 for difference in agreement.differences(IMAGES).values())
    assert error(net, agreement.lowered, IMAGES) < 0.05
    assert isinstance(agreement.lowered.fxq_graph, fx.Graph)
