"""The engine's proof that it works here: a tiny int8 convolution, compiled, run and compared."""

from __future__ import annotations

import openvino as ov
import torch
from openvino import opset15 as op

from fxq_openvino.runtime import CONFIG, core
from fxq_openvino.translate.layers import fake_quantize
from fxq_openvino.translate.values import out, parameter, value_of

X = tuple(range(-8, 8))
WEIGHT = (3, -5, 127, -1)
RIGHT = (-494.0, -370.0, -246.0, 2.0, 126.0, 250.0, 498.0, 622.0, 746.0)


def is_right() -> bool:
    """Whether a convolution of codes by codes gives its exact numbers, rounded to codes of their own."""
    entering = parameter((1, 1, 4, 4), torch.float32)
    weight = value_of(torch.tensor(WEIGHT, dtype=torch.int8).reshape(1, 1, 2, 2))
    factor = op.multiply(op.convert(weight, ov.Type.f32), value_of(1.0))
    convolved = op.convolution(fake_quantize(entering, 1.0, 128, 0, 255), factor, [1, 1], [0, 0], [0, 0], [1, 1])
    result = fake_quantize(out(convolved), 2.0 * 31, 8, 0, 255)
    model = ov.Model([op.result(out(convolved)), op.result(result)], [entering.node])
    compiled = core().compile_model(model, "CPU", {**CONFIG, "INFERENCE_NUM_THREADS": 1})
    found = compiled([torch.tensor(X, dtype=torch.float32).reshape(1, 1, 4, 4).numpy()])
    exact, rounded = (torch.from_numpy(found[number]).flatten() for number in (0, 1))
    right = torch.tensor(RIGHT)
    return torch.equal(exact, right) and torch.equal(rounded, torch.round(right / 62) * 62)
