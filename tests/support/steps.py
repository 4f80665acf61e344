"""A lowered graph whose ops are kept apart, so that an engine for whole graphs computes them one by one."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.quantized_module import QuantizedModule
from fxq_core.reference import fake_quantize
from fxq_openvino.regions import compile_regions


def kept_apart(x: torch.Tensor) -> torch.Tensor:
    """What no engine knows, and so what ends a region."""
    return x


def finish_steps(module: nn.Module) -> nn.Module:
    """The engine's ``finish``, after every rounding has been made the end of a region."""
    for part in list(module.modules()):
        if not isinstance(part, QuantizedModule):
            continue
        graph = part.fxq_graph
        for node in list(graph.nodes):
            if node.target is fake_quantize:
                with graph.inserting_after(node):
                    end = graph.call_function(kept_apart, (node,))
                node.replace_all_uses_with(end, lambda user, end=end: user is not end)
                end.meta = dict(node.meta)
        compile_regions(part, simplified=False)
    return module


def stepwise(registry: fxq.Registry) -> fxq.Engine:
    """OpenVINO's engine, op by op."""
    return dataclasses.replace(registry.engines["openvino"], finish=finish_steps)
