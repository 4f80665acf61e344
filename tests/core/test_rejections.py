"""Each reason not to use int8, whole, with the model that gets it; the model still quantizes and computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq

from support.quantizing import error, quantized, run

X = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
RUN_TIME = "its weight is computed at run time"
COMPUTED = "one of its arguments is computed at run time"
NOT_FLOAT = "one of its operands is not a float tensor"
NO_BATCH = "its input has no batch dimension; add one with unsqueeze(0)"


class Net(nn.Module):
    """A layer in int8, then ``form`` of it."""

    def __init__(self, form: Callable[..., Any], layer: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form, self.layer, self.conv = form, layer, nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.form(self, self.conv(x))


Case = tuple[str, Callable[..., Any], Any, str]
CASES: list[Case] = [
    ("conv2d", lambda m, y: F.conv2d(y, y.mean((2, 3)).T[:, :, None, None].repeat(1, 2, 1, 1)), None, RUN_TIME),
    ("conv2d", lambda m, y: F.conv2d(y, y[:, :, :1, :1]), None, RUN_TIME),
    ("layer", lambda m, y: m.layer(y, (13, 13)), nn.ConvTranspose2d(4, 3, 3, 2),
     "its output size is given with each call"),
    ("layer", lambda m, y: m.layer(y[0]), nn.Conv2d(4, 3, 1), NO_BATCH),
    ("linear", lambda m, y: F.linear(y, y[0, 0]), None, RUN_TIME),
    ("layer", lambda m, y: m.layer(y[0, 0, 0]), nn.Linear(6, 2), NO_BATCH),
    ("add", lambda m, y: y + y.size(0), None, NOT_FLOAT),
    ("mul", lambda m, y: y * (y > 0), None, NOT_FLOAT),
    ("add", lambda m, y: torch.add(y, y, alpha=2), None, "its alpha or out argument has no int8 form"),
    ("sub", lambda m, y: y.sub(y.relu(), alpha=2), None, "its alpha or out argument has no int8 form"),
    ("layer", lambda m, y: m.layer(F.hardswish(y)), nn.BatchNorm2d(4, track_running_stats=False),
     "its statistics are computed from each batch"),
    ("layer_norm", lambda m, y: F.layer_norm(y, (6,), y[0, 0, 0]), None, RUN_TIME),
    ("layer", lambda m, y: m.layer(y), nn.InstanceNorm2d(4, track_running_stats=True),
     "it normalizes with running statistics"),
    ("clamp", lambda m, y: F.max_pool2d(y, 1).clamp(-y.size(0), 1), None, "its bounds are computed at run time"),
    ("clamp", lambda m, y: F.max_pool2d(y, 1).clamp(0.5, 1), None,
     "the range 0.5 to 1 of its clamp does not hold 0, which int8 always represents"),
    ("avg_pool2d", lambda m, y: F.avg_pool2d(y, 2, divisor_override=1), None,
     "its divisor may take the result out of the range of its input"),
    ("softmax", lambda m, y: y.softmax(1, dtype=torch.float32), None, "it converts to another dtype"),
    ("mean", lambda m, y: y.mean(1, dtype=torch.float32), None, "it converts to another dtype"),
    ("leaky_relu", lambda m, y: F.leaky_relu(y, y.size(0) / 10), None, COMPUTED),
    ("elu", lambda m, y: F.elu(y, y.size(0) / 1), None, COMPUTED),
    ("cat", lambda m, y: torch.cat([y, y[:, :1]], y.dim() - 3), None, COMPUTED),
    ("cat", lambda m, y: torch.cat([y, y > 0], 1), None, "not all of its operands are float tensors"),
    ("cat", lambda m, y: torch.cat(y.unbind(1), 1), None, "it takes a tuple of tensors"),
    ("getitem_1", lambda m, y: y[y.argmax(0)[0, 0, 0]], None,
     "it picks single values by an index that is computed at run time"),
    ("getitem", lambda m, y: y[[0, 1]], None, "its index is neither numbers nor slices"),
    ("pad", lambda m, y: F.pad(y, (1, 1), value=2.0), None, "it pads with 2.0, which may lie out of its input's range"),
    ("layer", lambda m, y: m.layer(y), nn.ConstantPad2d(1, 3.0),
     "it pads with 3.0, which may lie out of its input's range"),
    ("dropout", lambda m, y: F.dropout(y, 0.0, training=True), None, "it drops values even in eval mode"),
]  # fmt: skip


@pytest.mark.parametrize(("node", "form", "layer", "reason"), CASES)
def test_a_reason_and_right_numbers(node: str, form: Any, layer: Any, reason: str) -> None:
    model = Net(form, layer)
    lowered = quantized(model, X)
    rows = {row.node: row for row in fxq.report(lowered).rows}
    assert (rows[node].quantized, rows[node].reason) == (False, reason)
    assert rows["conv"].quantized
    wanted, found = run(model, X), run(lowered, X)
    assert found.shape == wanted.shape
    assert error(model, lowered, X) < 0.05
