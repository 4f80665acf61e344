"""ONNX Runtime, statically quantized to QDQ, per channel."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from speed.systems.built import Built, Stages


class Batches(CalibrationDataReader):
    def __init__(self, batches: list[torch.Tensor]) -> None:
        self._batches: Iterator[dict[str, Any]] = ({"x": batch.numpy()} for batch in batches)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def build(model: nn.Module, batches: list[torch.Tensor], stages: Stages) -> Built:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        exported, ready, quantized = (Path(folder) / name for name in ("float.onnx", "ready.onnx", "int8.onnx"))
        with stages.quantizing():
            torch.onnx.export(
                model,
                (batches[0],),
                exported,
                input_names=["x"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
            quant_pre_process(exported, ready)
            with stages.calibrating():
                quantize_static(
                    ready,
                    quantized,
                    Batches(batches),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                )
            session = onnxruntime.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
        disk = sum(file.stat().st_size for file in Path(folder).glob("int8.onnx*"))

    def bind(x: torch.Tensor) -> Callable[[], Any]:
        inputs = {"x": x.numpy()}
        return lambda: session.run(None, inputs)

    return Built(bind, disk)
