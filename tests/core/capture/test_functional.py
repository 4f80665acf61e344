"""A functional layer whose weights are constants is torch's own module for it; any other stays a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.graphs import CONVS, SIZES, Written, layers
from support.quantizing import captured, error, patterns, quantized


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


VECTOR = torch.linspace(-1, 2, 6)
IMAGE = torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0))


def layers_of(form: Any, x: torch.Tensor = IMAGE) -> list[nn.Module]:
    model = Written(
        form, weight=VECTOR.clone(), bias=VECTOR.flip(0), gain=torch.rand(5, 4), buffer_mean=VECTOR - 1,
        buffer_var=VECTOR.abs() + 1, buffer_table=VECTOR.repeat(7, 1).contiguous(), slope=torch.tensor([0.1]),
    )  # fmt: skip
    return layers(captured(model, x).root)


@pytest.mark.parametrize(
    ("form", "kind", "has"),
    [
        (lambda m, x: F.layer_norm(x, (5, 4)), nn.LayerNorm, ()),
        (lambda m, x: F.layer_norm(x, [5, 4], m.gain, eps=0.5), nn.LayerNorm, ("weight",)),
        (lambda m, x: F.layer_norm(x, (5, 4), m.gain, m.gain), nn.LayerNorm, ("weight", "bias")),
        (lambda m, x: F.layer_norm(x, (5, 4), bias=m.gain), nn.LayerNorm, ("bias",)),
        (lambda m, x: F.layer_norm(x, x.shape[2:]), nn.LayerNorm, None),
        (lambda m, x: F.group_norm(x, 3), nn.GroupNorm, ()),
        (lambda m, x: F.group_norm(x, 2, m.weight, m.bias, 0.1), nn.GroupNorm, ("weight", "bias")),
        (lambda m, x: F.group_norm(x, num_groups=2, weight=m.weight), nn.GroupNorm, None),
        (lambda m, x: F.instance_norm(x), nn.InstanceNorm2d, ()),
        (lambda m, x: F.instance_norm(x[0]), nn.InstanceNorm1d, ()),
        (lambda m, x: F.instance_norm(x[:, :, None]), nn.InstanceNorm3d, ()),
        (lambda m, x: F.instance_norm(x, weight=m.weight, bias=m.bias, eps=1), nn.InstanceNorm2d, ("weight", "bias")),
        (lambda m, x: F.instance_norm(x, m.buffer_mean, m.buffer_var, use_input_stats=False), nn.InstanceNorm2d, None),
        (lambda m, x: F.instance_norm(x, weight=m.weight), nn.InstanceNorm2d, None),
        (lambda m, x: F.prelu(x, m.slope), nn.PReLU, ("weight",)),
        (lambda m, x: F.prelu(x, weight=m.weight), nn.PReLU, ("weight",)),
        (lambda m, x: F.batch_norm(x, m.buffer_mean, m.buffer_var), nn.BatchNorm2d, ("running_mean", "running_var")),
        (lambda m, x: F.embedding(x.argmax(3), m.buffer_table), nn.Embedding, ("weight",)),
        (lambda m, x: F.embedding(x.argmax(3), weight=m.buffer_table, padding_idx=1), nn.Embedding, ("weight",)),
        (lambda m, x: F.prelu(x, m.slope * x.shape[0]), nn.PReLU, None),
        (lambda m, x: F.layer_norm(x, (5, 4), x[0, 0]), nn.LayerNorm, None),
        (lambda m, x: F.embedding(x.argmax(3), x[0, 0]), nn.Embedding, None),
        (lambda m, x: F.linear(m.buffer_table, x[0, 0, :, :1].expand(-1, 6)), nn.Linear, None),
    ],
)
def test_the_module_holds_the_tensors_that_the_function_was_given(form: Any, kind: Any, has: Any) -> None:
    found = layers_of(form)
    if has is None:
        assert found == []
        return
    (layer,) = found
    assert type(layer) is kind
    assert not layer.training
    # the module of a batch norm has counted no batches
    assert {name for name in layer.state_dict() if name != "num_batches_tracked"} == set(has)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_functional_transposed_convolution_is_a_layer(dims: int, groups: int) -> None:
    function: Any = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[dims]
    kind: Any = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
    torch.manual_seed(0)
    weight = torch.randn(4, 3, *(3,) * dims)
    forms: list[Any] = [
        lambda m, x: function(x, m.weight, m.bias, 2, 1, 1, groups, 1),
        lambda m, x: function(input=x, weight=m.weight, stride=2, dilation=2, output_padding=1, groups=groups),
    ]
    for form in forms:
        model = Written(form, weight=weight, bias=torch.randn(3 * groups)).eval()
        x = torch.randn(2, 4, *SIZES[dims])
        assert [type(layer) for layer in layers(captured(model, x).root)] == [kind]
        lowered = quantized(model, x)
        assert list(patterns(lowered).values()) == [f"conv_transpose{dims}d"]
        assert error(model, lowered, x) < 0.03
