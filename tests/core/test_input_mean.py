"""What a layer takes on average: whatever the sizes of its inputs, and whatever they hold."""

from __future__ import annotations

import torch
from torch import nn

from fxq_core.correction import InputMean, mean_shift


def test_images_of_any_size_and_without_a_batch_count_by_their_results() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, padding=1, bias=False).double()
    mean, given = InputMean(layer), [torch.randn(2, 4, 5, 6), torch.randn(4, 3, 9), torch.randn(0, 4, 5, 6)]
    for x in given:
        mean.observe(x.double())
    outputs = [layer(x.double()).reshape(-1, *layer(x.double()).shape[-3:]) for x in given]
    expected = torch.cat([y.transpose(0, 1).flatten(1) for y in outputs], 1).mean(1)
    assert torch.allclose(mean_shift(layer, layer.weight, mean.mean()), expected, rtol=0, atol=1e-12)


def test_a_linear_layer_takes_rows_from_anywhere() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=False).double()
    mean, given = InputMean(layer), [torch.randn(2, 5, 4), torch.randn(4), torch.randn(3, 4)]
    for x in given:
        mean.observe(x.double())
    expected = torch.cat([layer(x.double()).reshape(-1, 3) for x in given]).mean(0)
    assert torch.allclose(mean_shift(layer, layer.weight, mean.mean()), expected, rtol=0, atol=1e-12)


def test_nan_and_inf_count_as_zero() -> None:
    mean = InputMean(nn.Linear(2, 1))
    mean.observe(torch.tensor([[float("nan"), 1.0], [2.0, float("-inf")]]))
    assert mean.mean().tolist() == [1.0, 0.5]


def test_sums_may_be_larger_than_float32() -> None:
    mean = InputMean(nn.Linear(2, 1))
    mean.observe(torch.tensor([[3e38, 1.0], [3e38, 2.0]]))
    assert mean.mean().tolist() == [torch.tensor(3e38).item(), 1.5]


def test_a_layer_may_hold_another_weight_than_it_was_made_with() -> None:
    torch.manual_seed(0)
    linear, conv, transposed = nn.Linear(8, 3), nn.Conv2d(7, 6, 5, padding=1), nn.ConvTranspose2d(7, 6, 5)
    linear.weight = nn.Parameter(linear.weight[:, :4].detach())
    conv.weight = nn.Parameter(torch.randn(6, 4, 3, 3))
    conv.stride = 2
    transposed.weight = nn.Parameter(torch.randn(4, 6, 3, 3))
    for layer, size in ((linear, (5, 4)), (conv, (2, 4, 6, 5)), (transposed, (2, 4, 6, 5))):
        mean, x = InputMean(layer), torch.randn(size)
        mean.observe(x)
        result = (layer(x) - layer.bias.reshape(-1, *[1] * (x.dim() - 2))).detach()
        expected = result.transpose(0, 1).flatten(1).mean(1)
        found = mean_shift(layer, layer.weight.detach().double(), mean.mean())
        assert torch.allclose(found.float(), expected, rtol=0, atol=1e-5), layer


def test_without_a_result_the_mean_is_zero() -> None:
    mean = InputMean(nn.Conv2d(4, 6, (3, 2)))
    mean.observe(torch.zeros(0, 4, 5, 5))
    assert torch.equal(mean.mean(), torch.zeros(4, 3, 2, dtype=torch.float64))
