"""However a layer is written, the graph holds torch's own module for it, and computes the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from support.quantizing import captured, error, patterns, quantized

CONVS: dict[int, tuple[Any, Any]] = {1: (nn.Conv1d, F.conv1d), 2: (nn.Conv2d, F.conv2d), 3: (nn.Conv3d, F.conv3d)}
SIZES = {1: (9,), 2: (9, 8), 3: (6, 5, 5)}


def layers(root: nn.Module) -> list[nn.Module]:
    """The modules that the graph calls, in order."""
    graph: Any = root
    return [graph.get_submodule(node.target) for node in graph.graph.nodes if node.op == "call_module"]


class Written(nn.Module):
    """A model that is one function of its parameters and buffers."""

    def __init__(self, function: Callable[..., Any], **tensors: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        for name, tensor in tensors.items():
            if name.startswith("buffer"):
                self.register_buffer(name, tensor)
            else:
                self.register_parameter(name, nn.Parameter(tensor))

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


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


def test_a_convolution_with_its_own_padding_may_be_called_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 2, padding="same", padding_mode="reflect")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(F.relu(self.conv(x)))

    torch.manual_seed(0)
    model, x = Twice().eval(), torch.randn(2, 3, 6, 6)
    assert len(layers(captured(model, x).root)) == 2
    lowered = quantized(model, x)
    assert list(patterns(lowered).values()).count("conv2d") == 1
    assert error(model, lowered, x) < 0.02


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_functional_convolution_is_a_layer(dims: int) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(4, 2, *(3,) * dims), torch.randn(4)
    forms: list[Callable[[Any, torch.Tensor], torch.Tensor]] = [
        lambda m, x: CONVS[dims][1](x, m.weight, m.bias, 1, 1, 1, 2),
        lambda m, x: CONVS[dims][1](x, weight=m.weight, bias=m.bias, padding="same", groups=2),
        lambda m, x: CONVS[dims][1](input=x, weight=m.weight, stride=(2,) * dims, padding=(1,) * dims, groups=2),
        lambda m, x: CONVS[dims][1](x, m.buffer, groups=2, dilation=2),
    ]
    for form in forms:
        model = Written(form, weight=weight, bias=bias, buffer=weight.flip(0)).eval()
        x = torch.randn(2, 4, *SIZES[dims])
        (layer,) = layers(captured(model, x).root)
        assert (type(layer), layer.training) == (CONVS[dims][0], False)
        lowered = quantized(model, x)
        assert list(patterns(lowered).values()) == [f"conv{dims}d"]
        assert error(model, lowered, x) < 0.02


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: F.linear(x, m.weight, m.bias),
        lambda m, x: F.linear(input=x, weight=m.weight),
        lambda m, x: F.linear(x, bias=m.bias, weight=m.weight),
        lambda m, x: F.linear(x, m.buffer, None),
    ],
)
def test_a_functional_linear_layer_is_a_layer(form: Any) -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 4)
    model = Written(form, weight=weight, bias=torch.randn(5), buffer=-weight).eval()
    for shape in ((4,), (3, 4), (2, 3, 4)):
        assert [type(layer) for layer in layers(captured(model, torch.randn(shape)).root)] == [nn.Linear]
    assert list(patterns(quantized(model, torch.randn(3, 4))).values()) == ["linear"]


def test_a_weight_of_one_row_stays_a_function() -> None:
    model = Written(lambda m, x: F.linear(x, m.weight), weight=torch.randn(4))
    assert layers(captured(model, torch.randn(3, 4)).root) == []


@pytest.mark.parametrize(
    ("rank", "kind"), [(2, nn.BatchNorm1d), (3, nn.BatchNorm1d), (4, nn.BatchNorm2d), (5, nn.BatchNorm3d)]
)
@pytest.mark.parametrize("affine", [True, False])
def test_a_functional_batch_norm_is_a_layer(rank: int, kind: Any, affine: bool) -> None:
    def form(m: Any, x: torch.Tensor) -> torch.Tensor:
        more = {"weight": m.weight, "bias": m.bias} if affine else {}
        return F.batch_norm(x, m.buffer_mean, m.buffer_var, **more, eps=0.1)

    torch.manual_seed(0)
    tensors = {"weight": torch.randn(3), "bias": torch.randn(3), "buffer_mean": torch.randn(3)}
    model = Written(form, **tensors, buffer_var=torch.rand(3) + 0.5).eval()
    assert [type(layer) for layer in layers(captured(model, torch.randn(2, 3, *(4,) * (rank - 2))).root)] == [kind]


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: F.batch_norm(x, m.buffer_mean, m.buffer_var, m.weight),
        lambda m, x: F.batch_norm(x, None, None, training=True),
        lambda m, x: F.batch_norm(x, x.mean((0, 2)), x.var((0, 2))),
        lambda m, x: F.conv1d(x, x[:, :, :1].mean(0, keepdim=True)),
        lambda m, x: F.linear(x, x[0, :, :] * m.buffer_mean[0]),
        lambda m, x: F.linear(x, torch.diag(m.weight) * x.shape[2]),
    ],
)
def test_what_is_computed_at_run_time_stays_a_function(form: Any) -> None:
    tensors = {"weight": torch.rand(3), "buffer_mean": torch.randn(3), "buffer_var": torch.rand(3) + 0.5}
    assert layers(captured(Written(form, **tensors), torch.randn(2, 3, 3)).root) == []


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def doubled(conv: nn.Module) -> nn.Module:
    for name in ("weight", "bias"):
        nn.utils.parametrize.register_parametrization(conv, name, Doubled())
    return conv


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the old forms are tested too
@pytest.mark.parametrize(
    "form",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        doubled,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
    ],
)
def test_parametrized_weights_are_made_once(form: Any) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(form(nn.Conv2d(3, 3, 3))).eval(), torch.randn(2, 3, 6, 6)
    lowered = quantized(model, x)
    assert patterns(lowered) == {"_0": "conv2d"}
    assert error(model, lowered, x) < 0.02
    assert nn.utils.parametrize.is_parametrized(model[0]) or len(model[0]._forward_pre_hooks) == 1


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


def test_tied_weights_stay_one_tensor() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.table(x)
            return self.head(y), F.linear(y, self.table.weight)

    model = Tied()
    root: Any = captured(model, torch.arange(6).reshape(2, 3)).root
    weights = [layer.weight for layer in layers(root)]
    assert len(weights) == 3
    assert weights[0] is weights[1] is weights[2]


def test_a_view_becomes_a_reshape_but_not_where_it_changes_the_type() -> None:
    model = Written(lambda m, x: x.view(2, -1).view((6,)).view(torch.int32).view(x.shape))
    graph: Any = captured(model, torch.randn(2, 3)).root
    assert [n.target for n in graph.graph.nodes if n.op == "call_method"] == ["reshape", "reshape", "view", "reshape"]
