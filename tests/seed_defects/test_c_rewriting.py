"""Entries 22 to 31, but for 27: norms, shared modules, hooks and what becomes of the float model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils import parametrizations

import fxq_core as fxq
from fxq_core.reference import emit_any
from seed_defects.oracle import folded, int8_weight, module, on_grid, quantized, settled

IMAGE = (2, 3, 8, 8)


class Refusing:
    """Outranks the core's lowering of conv-relu, and refuses every match of it."""

    @fxq.hookimpl
    def fxq_lowerings(self) -> list[fxq.Lowering]:
        refusal = {"emit": emit_any, "priority": 1, "reject": lambda match: "not today"}
        return [fxq.Lowering(engine="reference", pattern="conv2d_clamp", **refusal)]


def test_seed_22_a_refused_match_leaves_its_nodes_to_others() -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=fxq.load_plugins([Refusing()]))
    assert [row._0.pattern, row._1.pattern] == ["conv2d", "clamp"]
    inside = on_grid(F.conv2d(on_grid(x, row.input_1), int8_weight(model[0].weight), model[0].bias), row._0)
    assert torch.equal(qmodel(x), inside.relu())


def test_seed_23_batch_norm_of_another_parent_keeps_its_place(registry: fxq.Registry) -> None:
    a = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))
    b = nn.Sequential(nn.Identity(), settled(nn.BatchNorm2d(4)))
    model = module(lambda self, x: self.a[1](self.b[1](self.a[0](x))), a=a, b=b)
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    weight, bias = folded(a[0], b[1])
    conv = on_grid(F.conv2d(on_grid(x, row.x), int8_weight(weight), bias), row.a_0)
    assert torch.equal(qmodel(x), F.max_pool2d(conv, 2))
    assert isinstance(qmodel.get_submodule("a.1"), nn.MaxPool2d)


def test_seed_24_each_call_of_a_shared_convolution_has_its_own_range(registry: fxq.Registry) -> None:
    conv = nn.Conv2d(3, 4, 3)
    model = module(lambda self, x: (self.conv(x), self.conv(100 * x)), conv=conv)
    x = torch.randn(IMAGE)
    config = fxq.Config(rules=(fxq.Rule("conv", observer="minmax"),))
    qmodel, row = quantized(model, x, registry=registry, config=config)
    for result, source, into, out in zip(
        qmodel(x), (x, 100 * x), (row.x, row.mul), (row.conv, row.conv_1), strict=True
    ):
        low, high = torch.aminmax(model.conv(source).detach())
        assert out.scale == ((high.double() - low.double()) / 255).float().item()
        expected = F.conv2d(on_grid(source, into), int8_weight(conv.weight), conv.bias)
        assert torch.equal(result, on_grid(expected, out))


@pytest.mark.parametrize("second", ["another norm", "none"])
def test_seed_25_each_call_of_a_convolution_has_its_own_norm(second: str, registry: fxq.Registry) -> None:
    conv, norm = nn.Conv2d(3, 4, 3), settled(nn.BatchNorm2d(4))
    other = settled(nn.BatchNorm2d(4)) if second == "another norm" else nn.Identity()
    model = module(lambda self, x: (self.n(self.conv(x)), self.m(self.conv(x))), conv=conv, n=norm, m=other)
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    plain = (conv.weight, conv.bias)
    layers = [folded(conv, norm), folded(conv, other) if second == "another norm" else plain]
    for result, (weight, bias), out in zip(qmodel(x), layers, (row.conv, row.conv_1), strict=True):
        assert torch.equal(result, on_grid(F.conv2d(on_grid(x, row.x), int8_weight(weight), bias), out))


def test_seed_26_each_call_of_a_shared_norm_normalises(registry: fxq.Registry) -> None:
    conv, norm = nn.Conv2d(3, 3, 1), settled(nn.BatchNorm2d(3))
    model = module(lambda self, x: (self.norm(self.conv(x)), self.norm(torch.sin(x))), conv=conv, norm=norm)
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    weight, bias = folded(conv, norm)
    after_conv, after_sin = qmodel(x)
    assert torch.equal(after_conv, on_grid(F.conv2d(on_grid(x, row.x), int8_weight(weight), bias), row.conv))
    assert torch.equal(after_sin, norm(torch.sin(x)))


def test_seed_26_a_weight_that_is_also_read_elsewhere_is_read_unfolded(registry: fxq.Registry) -> None:
    conv, norm = nn.Conv2d(3, 4, 3), settled(nn.BatchNorm2d(4))
    decode = lambda self, x: F.conv_transpose2d(self.norm(self.conv(x)), self.conv.weight)  # noqa: E731
    model, x = module(decode, conv=conv, norm=norm), torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry, config=fxq.Config(skip=("conv_transpose2d",)))
    weight, bias = folded(conv, norm)
    code = on_grid(F.conv2d(on_grid(x, row.x), int8_weight(weight), bias), row.conv)
    assert torch.equal(qmodel(x), F.conv_transpose2d(code, conv.weight))


def test_seed_28_the_float_model_runs_as_before(registry: fxq.Registry) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), settled(nn.BatchNorm2d(4)), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3))
    x = torch.randn(IMAGE)
    for model in (layers.eval(), fx.symbolic_trace(layers.eval())):
        before, state = model(x), {key: value.clone() for key, value in model.state_dict().items()}
        kinds = [(path, type(child), child.training) for path, child in model.named_modules()]
        quantized(model, x, registry=registry)
        assert torch.equal(model(x), before)
        assert [(path, type(child), child.training) for path, child in model.named_modules()] == kinds
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert model.state_dict().keys() == state.keys()
        assert getattr(layers[2], "inplace", None) is True


@pytest.mark.parametrize("hooked", ["0", "1", "2"])
def test_seed_29_forward_hooks_run(hooked: str, registry: fxq.Registry) -> None:
    layers = (nn.Conv2d(3, 4, 3), settled(nn.BatchNorm2d(4)), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1))
    model, x, calls = nn.Sequential(*layers).eval(), torch.randn(IMAGE), []
    model.get_submodule(hooked).register_forward_pre_hook(lambda module, args: calls.append("before"))
    model.get_submodule(hooked).register_forward_hook(lambda module, args, result: calls.append("after"))
    qmodel, row = quantized(model, x, registry=registry)
    assert row._4.quantized
    calls.clear()
    qmodel(x)
    assert calls == ["before", "after"]


def test_seed_29_a_hook_of_the_root_is_calibrated_with(registry: fxq.Registry) -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), torch.randn(IMAGE)
    model.register_forward_pre_hook(lambda module, args: (args[0] * 20,))
    model.register_forward_hook(lambda module, args, result: result + 1)
    q = fxq.Quantizer(model, x, "reference", fxq.Config(bias_correction=False), registry)
    assert torch.equal(q.observe(x), model(x))
    hooked = q.quantize()
    plain, _ = quantized(nn.Sequential(model[0]), x * 20, registry=registry)
    assert torch.equal(hooked(x), plain(x * 20) + 1)


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_seed_29_parametrizations_make_the_weight(norm: Callable[..., Any], registry: fxq.Registry) -> None:
    conv = norm(nn.Conv2d(3, 4, 3)).eval()
    with torch.no_grad():
        conv.bias.uniform_(-1, 1)
        for original in conv.parametrizations.weight.parameters():
            original.mul_(3)  # what the weight was before is no longer what it is
    x = torch.randn(IMAGE)
    qmodel, row = quantized(nn.Sequential(conv), x, registry=registry)
    expected = F.conv2d(on_grid(x, row.input_1), int8_weight(conv.weight), conv.bias)
    assert torch.equal(qmodel(x), on_grid(expected, row._0))


def test_seed_30_norms_without_statistics_stay_float(registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    assert row._1.reason == "its statistics are computed from each batch"
    conv = on_grid(F.conv2d(on_grid(x, row.input_1), int8_weight(model[0].weight), model[0].bias), row._0)
    assert torch.equal(qmodel(x), model[1](conv))


def test_seed_30_norms_without_weights_are_folded(registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), settled(nn.BatchNorm2d(4, affine=False)))
    x = torch.randn(IMAGE)
    qmodel, row = quantized(model, x, registry=registry)
    weight, bias = folded(*model)
    assert torch.equal(qmodel(x), on_grid(F.conv2d(on_grid(x, row.input_1), int8_weight(weight), bias), row._0))


def test_seed_31_a_model_in_train_mode_is_refused(registry: fxq.Registry) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    model[1].train()
    message = (
        "^1 of the modules of Sequential are in train mode, the first at '1'; call model.eval\\(\\) before quantizing$"
    )
    with pytest.raises(fxq.CaptureError, match=message):
        fxq.Quantizer(model, torch.randn(IMAGE), engine="reference", registry=registry)


def test_seed_31_calibration_updates_no_statistics_and_drops_nothing(registry: fxq.Registry) -> None:
    layers = (nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.9))
    model, x = nn.Sequential(*layers).eval(), 5 + torch.randn(IMAGE)
    q = fxq.Quantizer(model, x, engine="reference", registry=registry)
    first, second = q.observe(x), q.observe(x)
    assert torch.equal(first, second)
    assert torch.allclose(first, model(x), rtol=1e-4, atol=1e-5)  # folding rounds elsewhere
    assert model[0].running_mean.tolist() == model[2].running_mean[:3].tolist() == [0.0] * 3
    assert q.quantize().get_submodule("0").running_mean.tolist() == [0.0] * 3
