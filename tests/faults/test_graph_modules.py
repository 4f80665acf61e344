"""G1, G2, G3, G5, G6, G13, G14: how modules are reached, shared, hooked, and what is checked at the end."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

from support.quantizing import CORE, error, int8, quantized

X = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(32, 3, 6, 6, generator=torch.Generator().manual_seed(1))


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) if x.sum() < 1e9 else x


def test_G1_around_and_below_control_flow_everything_is_quantized() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), Gate(), nn.Linear(4, 4))
    qmodel = quantized(net, X)
    assert int8(qmodel) == ["linear", "linear", "linear"]
    (note,) = (note for path, note in fxq.report(qmodel).notes if path == "1")
    assert note.startswith("it can't be traced: ")
    assert "test_graph_modules.py:" in note
    assert "symbolically traced variables cannot be used as inputs to control flow" in note
    assert error(net, qmodel, X) < 0.05


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 4)
        self.again = self.layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(10 * self.layer(x))


def test_G2_a_layer_called_twice_is_packed_once_with_a_range_for_each_call() -> None:
    net = Twice()
    qmodel = quantized(net, X)
    rows = [row for row in fxq.report(qmodel).rows if row.op == "Linear"]
    assert [row.quantized for row in rows] == [True, True]
    assert rows[0].scale != rows[1].scale
    weights = {t.data_ptr() for name, t in qmodel.state_dict().items() if t.dtype is torch.int8}
    assert len(weights) == 1
    assert error(net, qmodel, X) < 0.05


class Read(nn.Module):
    """The convolution's result is read before and after the ReLU, so they are two ops."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return F.relu(y) + y


def test_G2_a_result_that_is_read_twice_is_not_fused_away() -> None:
    net = Read()
    qmodel = quantized(net, IMAGES)
    assert int8(qmodel) == ["add", "clamp", "conv2d"]
    assert error(net, qmodel, IMAGES) < 0.05


class Tied(nn.Module):
    """The decoder reads the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows, self.decoder = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.decoder.weight = self.rows.weight

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.rows(index)) + torch.sin(self.rows.weight * index.sum()).sum()


def test_G3_a_tied_weight_is_int8_where_it_can_be_and_float_where_it_is_read() -> None:
    net, index = Tied().eval(), torch.arange(6).repeat(6)
    assert net.decoder.weight is net.rows.weight
    qmodel = quantized(net, index)
    assert {"embedding", "linear"} <= set(int8(qmodel))
    state = qmodel.state_dict()
    assert state["decoder.weight"].dtype is state["rows.weight"].dtype is torch.int8
    assert any(t.dtype is torch.float32 and t.shape == (6, 4) for t in state.values())
    assert error(net, qmodel, index) < 0.1
    assert net.decoder.weight is net.rows.weight


@pytest.mark.parametrize("affine", [True, False])
def test_G5_batch_norm_is_folded_with_and_without_weights(affine: bool) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=affine), nn.ReLU())
    net[1].running_mean.fill_(0.5)
    net[1].running_var.fill_(2.0)
    qmodel = quantized(net, IMAGES)
    assert set(int8(qmodel)) == {"conv2d_clamp"}
    assert dict(fxq.report(qmodel).notes)["1"].startswith("folded into ")
    assert error(net, qmodel, IMAGES) < 0.05


def test_G5_without_statistics_it_stays_float_and_says_why() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Conv2d(4, 2, 1))
    qmodel = quantized(net, IMAGES)
    (row,) = (row for row in fxq.report(qmodel).rows if row.module == "1")
    assert (row.quantized, row.reason) == (False, "its statistics are computed from each batch")
    assert error(net, qmodel, IMAGES) < 0.05


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.Dropout()])
@pytest.mark.parametrize("code", ["G5", "G6"])
def test_G5_G6_train_mode_is_refused(code: str, layer: nn.Module) -> None:
    net = nn.Sequential(nn.Linear(4, 4), layer).eval()
    layer.train()
    with pytest.raises(fxq.CaptureError) as caught:
        fxq.quantize(net, [X], "reference", registry=CORE)
    assert str(caught.value) == (
        "1 of the modules of Sequential are in train mode, the first at '1'; call model.eval() before quantizing"
    )


def test_G6_what_drops_in_eval_mode_too_goes_on_doing_so() -> None:
    class Always(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(self.fc(x), 0.5, training=True)

    qmodel = quantized(Always(), X)
    (row,) = (row for row in fxq.report(qmodel).rows if row.op == "dropout")
    assert (row.quantized, row.reason) == (False, "it drops values even in eval mode")


def test_G13_hooks_are_kept_and_told() -> None:
    seen: list[str] = []
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)), nn.Linear(4, 4)).eval()
    net[0].register_forward_hook(lambda *_: seen.append("first"))
    net[1][0].register_forward_pre_hook(lambda *_: seen.append("second"))
    qmodel = fxq.quantize(net, [X], "reference", registry=CORE)
    seen.clear()
    qmodel(X)
    assert seen == ["first", "second"]
    reasons = {row.module: row.reason for row in fxq.report(qmodel).rows if row.op == "Linear"}
    assert reasons["0"] == reasons["1.0"] == "it has forward hooks, which are kept"
    assert int8(qmodel) == ["linear"]


def test_G13_what_the_caller_does_to_an_output_changes_no_later_one(engine: str, registry: fxq.Registry) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    qmodel = fxq.quantize(net, [X], engine, registry=registry)
    expected = qmodel(X).clone()
    qmodel(X).fill_(float("nan"))
    assert torch.equal(qmodel(X), expected)


class Shrunk(nn.Module):
    """Cancels all but a little of what it computes, which int8 can't."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        with torch.no_grad():
            self.second.weight.copy_(self.first.weight * 1.001)
            self.second.bias.copy_(self.first.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) - self.second(x)


def test_G14_a_result_far_from_float_is_warned_of(engine: str, registry: fxq.Registry) -> None:
    with pytest.warns(fxq.AccuracyWarning) as caught:
        fxq.quantize(Shrunk().eval(), [X], engine, registry=registry)
    text = str(caught[0].message)
    assert text.startswith("on the last calibration batch the SQNR to float is ")
    assert text.endswith(
        " dB, below 10; calibrate with more data, take another observer, or keep parts in float with Config(skip=...)"
    )
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fxq.quantize(Twice().eval(), [X], engine, registry=registry)


def test_G14_a_lowering_that_fails_leaves_its_match_float_and_nothing_half_done() -> None:
    class Broken:
        @fxq.hookimpl
        def fxq_lowerings(self) -> Any:
            yield fxq.Lowering(engine="reference", pattern="linear", emit=fails, priority=1)

    def fails(match: Any, ctx: Any) -> Any:
        ctx.call(torch.relu, ctx.inputs[0])
        raise KeyError("half way")

    registry = fxq.load_plugins(plugins=[Broken()], block=("fxq-fbgemm", "fxq-qnnpack", "fxq-celu"))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 4)).eval()
    with pytest.warns(fxq.PluginWarning, match="the node stays in float"):
        qmodel = fxq.quantize(net, [IMAGES], "reference", registry=registry)
    assert int8(qmodel) == ["conv2d"] or int8(qmodel) == ["conv2d", "flatten"]
    qmodel.fxq_graph.lint()
    assert "relu" not in qmodel.fxq_code
    assert error(net, qmodel, IMAGES) < 0.05
