"""E10, E11, E12, E14: what kernels refuse, and by how much their rounding differs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.observers.qparams import within_limits
from fxq_core.testing.agreement import Agreement

from support.small import Small, batches

MINMAX = fxq.Config(rules=(fxq.Rule("*", observer="minmax"),))


@pytest.mark.parametrize("channels", [8, 5])
@pytest.mark.parametrize("size", [1e-38, 1e-20, 1.0, 1e10])
@pytest.mark.parametrize("weight", [1e-38, 1e-10, 1.0])
def test_E10_scales_stay_where_every_kernel_takes_them(
    weight: float, size: float, channels: int, engine: str, registry: fxq.Registry
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, channels, 1), nn.Linear(4, 4)).eval()
    with torch.no_grad():
        model[0].weight.mul_(weight)
    data = [torch.randn(32, 3, 4, 4) * size]
    qmodel = fxq.quantize(model, data, engine, MINMAX, registry)
    result, expected = qmodel(data[0]), model(data[0])
    assert result.isfinite().all()
    step = fxq.report(qmodel).rows[-2].scale
    assert (result - expected).abs().max() <= max(0.05 * expected.abs().max().item(), 4 * step)


@pytest.mark.filterwarnings("ignore:on the last calibration batch")
@pytest.mark.parametrize("weight", [1e-38, 1.0, 10.0])
def test_E10_at_the_ends_of_float32_it_still_runs(weight: float, engine: str, registry: fxq.Registry) -> None:
    """There oneDNN's own arithmetic loses numbers, of which the self-check warns."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU6(), nn.Conv2d(5, 5, 1)).eval()
    with torch.no_grad():
        model[0].weight.mul_(weight)
    x = torch.randn(32, 3, 4, 4) * 1e36
    assert fxq.quantize(model, [x], engine, MINMAX, registry)(x).isfinite().all()


def test_E10_a_weight_scale_is_nudged_no_further_than_the_limits() -> None:
    scale = torch.tensor([2.0**-60, 2.0**-10, 2.0**60])
    assert within_limits(scale, 1.0, 1.0).tolist() == [2.0**-40, 2.0**-10, 2.0**40]
    assert within_limits(scale, 2.0**100, 2.0**100).tolist() == [2.0**-40, 2.0**-10, 2.0**20]
    assert within_limits(scale, 2.0**-60, 2.0**-60).tolist() == [2.0**-40, 2.0**-10, 2.0**40]


class Sum(nn.Module):
    def __init__(self, share: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other, self.share = nn.Linear(4, 4), nn.Linear(4, 4), share

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y, z = self.one(x), self.other(x * self.share)
        return y + z, y - z, nn.functional.relu(z + y)


@pytest.mark.parametrize("share", [0.0, 1e-8, 1e-3, 1e3, 1e8])
def test_E10_operands_of_very_different_size_are_added(share: float, engine: str, registry: fxq.Registry) -> None:
    """QNNPACK's kernel takes scales from 2**-14 to 2**8 times the result's, so there it is computed in float."""
    net, x = Sum(share).eval(), torch.randn(32, 4)
    with torch.no_grad():
        net.other.bias.zero_()
    q = fxq.Quantizer(net, x, engine, registry=registry).calibrate([x])
    agreement = Agreement(q)
    assert all(difference.codes <= 1 for difference in agreement.differences(x).values())
    for result, expected in zip(agreement.lowered(x), net(x), strict=True):
        assert (result - expected).abs().max() < 0.05 * expected.abs().max()


class Upwards(nn.Module):
    def __init__(self, output_padding: int, groups: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        shape = {"stride": 2, "padding": 1, "output_padding": output_padding, "groups": groups}
        self.up, self.last = nn.ConvTranspose2d(4, 8, 3, **shape), nn.Conv2d(8, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.up(x))


@pytest.mark.parametrize("groups", [1, 2])
def test_E11_a_transposed_convolution_has_one_weight_scale(groups: int, engine: str, registry: fxq.Registry) -> None:
    x = torch.randn(32, 4, 5, 5)
    qmodel = fxq.quantize(Upwards(0, groups).eval(), [x], engine, registry=registry)
    assert qmodel.up.weight_scale.dim() == 0
    assert {row.node: row.quantized for row in fxq.report(qmodel).rows}["up"]
    # its module says so too: one number where the others have one for each channel
    assert qmodel.last.weight_scale.shape == (2,)
    rule = fxq.Rule("up", weight="per-channel")
    with pytest.raises(fxq.ConfigError, match=r"^Rule\("):
        fxq.Quantizer(Upwards(0, groups).eval(), x, engine, fxq.Config(rules=(rule,)), registry)


@pytest.mark.parametrize("output_padding", [0, 1])
def test_E12_what_one_kernel_can_not_do_another_does(output_padding: int, engine: str, registry: fxq.Registry) -> None:
    x = torch.randn(32, 4, 5, 5)
    q = fxq.Quantizer(Upwards(output_padding, 1).eval(), x, engine, registry=registry).calibrate([x])
    agreement = Agreement(q)
    assert agreement.lowered(x).shape == (32, 2, 9 + output_padding, 9 + output_padding)
    assert all(difference.codes <= 1 for difference in agreement.differences(x).values())
    assert agreement.lowered.up.weight.dtype is torch.int8
    # symmetric weights are what all kernels take
    assert registry.engines[engine].weight.symmetric


def test_E14_every_op_is_within_one_code_of_the_reference(engine: str, registry: fxq.Registry) -> None:
    q = fxq.Quantizer(Small().eval(), batches(1)[0], engine, registry=registry).calibrate(batches())
    differences = Agreement(q).differences(batches(6)[5])
    assert differences
    assert max(difference.codes for difference in differences.values()) <= 1
