"""torchao's PT2E with the quantizer for Inductor on x86, compiled, as its tutorial has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch._inductor.config
import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
from torch import nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from speed.systems.built import Built, Stages, saved_size


def build(model: nn.Module, batches: list[torch.Tensor], stages: Stages) -> Built:
    # packs the weights when it compiles; without it they are dequantized in every call
    torch._inductor.config.freezing = True
    with stages.quantizing():
        dynamic = ({0: torch.export.Dim("batch")},)
        exported = torch.export.export(model, (batches[0],), dynamic_shapes=dynamic).module()
        quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
        prepared = prepare_pt2e(exported, quantizer)
        with stages.calibrating():
            for batch in batches:
                prepared(batch)
        qmodel = convert_pt2e(prepared)

    def bind(x: torch.Tensor) -> Callable[[], Any]:
        compiled = torch.compile(qmodel, dynamic=False)
        return lambda: compiled(x)

    return Built(bind, saved_size(qmodel))
