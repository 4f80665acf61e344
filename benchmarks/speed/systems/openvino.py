"""OpenVINO, quantized by NNCF with its default preset."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nncf
import openvino
import torch
from torch import nn

from speed.systems.built import Built, Stages


def build(model: nn.Module, batches: list[torch.Tensor], stages: Stages) -> Built:
    nncf.set_log_level(40)
    with stages.quantizing():
        converted = openvino.convert_model(model, example_input=batches[0])
        data = nncf.Dataset([batch.numpy() for batch in batches])
        with stages.calibrating():
            quantized = nncf.quantize(converted, data, subset_size=len(batches))
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(quantized, Path(folder) / "int8.xml", compress_to_fp16=False)
        disk = sum(file.stat().st_size for file in Path(folder).iterdir())

    def bind(x: torch.Tensor) -> Callable[[], Any]:
        # a fixed shape is what OpenVINO is fastest with
        fixed = quantized.clone()
        fixed.reshape(list(x.shape))
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        request = openvino.compile_model(fixed, "CPU", options).create_infer_request()
        inputs = x.numpy()
        return lambda: request.infer([inputs], share_inputs=True, share_outputs=True)

    return Built(bind, disk)
