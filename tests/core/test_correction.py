from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.context import QWeight
from fxq_core.correction import InputMean, mean_shift, told

from support.quantizing import INSTALLED, quantizer, run

X = torch.rand(4, 4, 7, 6, generator=torch.Generator().manual_seed(0))
CLIPPED = fxq.Config(rules=(fxq.Rule("*", observer="percentile"),))
UNCORRECTED = fxq.Config(bias_correction=False)
SENTENCE = "the bias takes up the mean error of the rounded weight in"


def geometries() -> Iterator[tuple[Any, tuple[int, ...], dict[str, int]]]:
    names = ("kernel_size", "stride", "padding", "dilation", "groups")
    for numbers in itertools.product((1, 2, 3), (1, 3), (0, 1, 3), (1, 2), (1, 2)):
        geometry = dict(zip(names, numbers, strict=True))
        for size in (5, 8):
            extent = geometry["dilation"] * (geometry["kernel_size"] - 1) + 1
            if size + 2 * geometry["padding"] >= extent:
                yield nn.Conv2d, (size, size + 1), geometry
            if (size - 1) * geometry["stride"] + extent > 2 * geometry["padding"]:
                yield nn.ConvTranspose2d, (size, size + 1), geometry
    yield nn.Conv1d, (9,), {"kernel_size": 4, "stride": 2, "padding": 1}
    yield nn.Conv3d, (4, 5, 6), {"kernel_size": 3, "stride": 2, "padding": 1}
    yield nn.ConvTranspose1d, (9,), {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
    yield nn.ConvTranspose3d, (3, 4, 5), {"kernel_size": 2, "stride": 2, "groups": 2}


def test_the_shift_is_the_mean_of_what_the_error_gives() -> None:
    torch.manual_seed(0)
    for kind, size, geometry in geometries():
        layer = kind(4, 6, bias=False, **geometry).double()
        mean, given = InputMean(layer), [torch.randn(3, 4, *size), torch.randn(1, 4, *size)]
        for x in given:
            mean.observe(x.double())
        expected = layer(torch.cat(given).double()).transpose(0, 1).flatten(1).mean(1)
        found = mean_shift(layer, layer.weight, mean.mean())
        assert torch.allclose(found, expected, rtol=0, atol=1e-12), (kind, size, geometry)


@pytest.mark.filterwarnings("ignore:on the last calibration batch")
def test_what_int8_clips_counts_as_what_it_is_clipped_to() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(1024, 2), torch.randn(200, 1024)
    x[0, 0] = 2000
    lowered: Any = quantizer(nn.Sequential(layer), x, config=CLIPPED).calibrate([x]).quantize()
    held, (row, *_) = lowered.get_submodule("0"), fxq.report(lowered).rows
    high = (255 - row.zero_point) * row.scale
    error = QWeight(held.weight, held.weight_scale, held.axis).dequantize().double() - layer.weight.double()
    assert 0 < high < 9 < x[:, 0].mean()
    expected = layer.bias.double() - error @ x.double().mean(0).clamp(max=high)
    assert torch.equal(held.bias, expected.float())


LAYERS = {
    "padded": lambda: nn.Conv2d(4, 6, 3, padding=2),
    "strided": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4, padding=1),
    "without a bias": lambda: nn.Conv2d(4, 6, 3, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2),
    "linear": lambda: nn.Linear(6, 5),
    "linear without a bias": lambda: nn.Linear(6, 5, bias=False),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("weight", ["per-channel", "per-tensor"])
def test_a_rounded_layer_has_the_mean_of_the_float_one(name: str, weight: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    model, given = nn.Sequential(layer), [X, X[:1] + 3, X[1:3]]
    rules = (fxq.Rule("0", weight=weight),) if weight == "per-tensor" else ()

    def apart(config: fxq.Config) -> float:
        lowered: Any = quantizer(model, X, config=config).calibrate(given).quantize()
        held = lowered.get_submodule("0")
        rounded = copy.deepcopy(layer).double()
        rounded.weight.data = QWeight(held.weight, held.weight_scale, held.axis).dequantize().double()
        rounded.bias = None if held.bias is None else nn.Parameter(held.bias.double())
        exact = copy.deepcopy(layer).double()
        errors = torch.cat([rounded(x.double()) - exact(x.double()) for x in given])
        return float(errors.detach().mean((0, 2, 3) if layer.weight.dim() == 4 else (0, 1, 2)).abs().max())

    before, after = apart(fxq.Config(rules=rules, bias_correction=False)), apart(fxq.Config(rules=rules))
    assert before > 1e-5
    assert after < 1e-6  # the bias is float32


def test_the_bias_stays_where_the_config_says_so() -> None:
    layer = nn.Linear(6, 5)
    lowered: Any = quantizer(nn.Sequential(layer), X, config=UNCORRECTED).calibrate([X]).quantize()
    assert torch.equal(lowered.get_submodule("0").bias, layer.bias)
    assert SENTENCE not in str(fxq.report(lowered))
    bare: Any = quantizer(nn.Sequential(nn.Linear(6, 5, bias=False)), X, config=UNCORRECTED).calibrate([X]).quantize()
    assert bare.get_submodule("0").bias is None


def test_the_float_model_keeps_its_bias() -> None:
    layer = nn.Linear(6, 5)
    before = layer.bias.detach().clone()
    quantizer(nn.Sequential(layer), X).calibrate([X]).quantize()
    assert torch.equal(layer.bias, before)


class Net(nn.Module):
    """A layer that is called twice, one that is called once, and one that is skipped."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.twice, self.once, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.once(torch.relu(self.twice(torch.relu(self.twice(x))))))


def test_the_plan_and_the_report_name_the_layers() -> None:
    q = quantizer(Net(), X, config=fxq.Config(skip=("last",)))
    assert q.plan.corrected == ("twice", "once")
    assert str(q.plan).splitlines()[-1] == f"{SENTENCE} twice, once"
    lowered = q.calibrate([X]).quantize()
    found = fxq.report(lowered)
    assert found.corrected == ("twice", "once")
    assert f"{SENTENCE} twice, once" in str(found).splitlines()
    lone = quantizer(nn.Linear(6, 3), X)
    assert str(lone.plan).splitlines()[-1] == f"{SENTENCE} the root"


def test_a_layer_with_several_calls_is_corrected_for_all_of_them_at_once() -> None:
    q = quantizer(Net(), X).calibrate([X])
    lowered: Any = q.quantize()
    assert [name for name, _ in lowered.named_modules() if name.startswith("twice")] == ["twice"]
    model = Net()
    inner = torch.relu(model.twice(X)).detach()
    expected = torch.cat([X, inner])
    layer = lowered.get_submodule("twice")
    errors = (layer(expected) - model.twice(expected)).detach().mean((0, 2, 3))
    assert errors.abs().max() < 1e-6


def test_shards_merged_are_one_pass_and_a_failed_batch_leaves_no_trace() -> None:
    batches = [torch.randn(n, 4, 7, 6, generator=torch.Generator().manual_seed(n)) * 10**n for n in range(1, 6)]
    whole = quantizer(Net(), X).calibrate(batches)
    for cut in range(1, len(batches)):
        late = quantizer(Net(), X).calibrate(batches[cut:])
        first = quantizer(Net(), X).calibrate(batches[:cut])
        with pytest.raises(fxq.CalibrationError):
            first.observe(torch.full_like(X, float("nan")))
        merged = first.merge(late).quantize()
        expected = whole.quantize().state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in merged.state_dict().items())


def test_the_means_are_part_of_the_state_of_a_calibration() -> None:
    q, other = quantizer(Net(), X).calibrate([X]), quantizer(Net(), X)
    file = io.BytesIO()
    torch.save(q.prepared.state_dict(), file)
    file.seek(0)
    other.prepared.load_state_dict(torch.load(file, weights_only=True))
    expected = q.quantize()
    assert torch.equal(run(other.quantize(), X), run(expected, X))
    with pytest.raises(ValueError, match=r"^the calibration state belongs to another model or plan$"):
        quantizer(Net(), X, config=UNCORRECTED).prepared.load_state_dict(q.prepared.state_dict())


def test_a_layer_whose_lowering_fails_is_not_named() -> None:
    def emit(match: fxq.Match, ctx: fxq.LoweringContext) -> Any:
        raise RuntimeError("no")

    class Plugin:
        @fxq.hookimpl
        def fxq_lowerings(self) -> Any:
            yield fxq.Lowering(engine="reference", pattern="linear", emit=emit, priority=1)

    registry = fxq.load_plugins(plugins=[Plugin()], block=INSTALLED)
    with pytest.warns(fxq.PluginWarning):
        lowered = fxq.Quantizer(Net().eval(), X, "reference", registry=registry).calibrate([X]).quantize()
    assert fxq.report(lowered).corrected == ("twice", "once")


def test_of_many_layers_the_first_are_named() -> None:
    assert list(told(())) == []
    assert list(told(("",))) == [f"{SENTENCE} the root"]
    assert list(told(tuple("abcdef"))) == [f"{SENTENCE} a, b, c, d, e, f"]
    assert list(told(tuple("abcdefgh"))) == [f"{SENTENCE} a, b, c, d, e, f and 2 more"]
