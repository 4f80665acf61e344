"""Models of one function, and what a captured graph of them calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

CONVS: dict[int, tuple[Any, Any]] = {1: (nn.Conv1d, F.conv1d), 2: (nn.Conv2d, F.conv2d), 3: (nn.Conv3d, F.conv3d)}
SIZES = {1: (9,), 2: (9, 8), 3: (6, 5, 5)}


def layers(root: nn.Module) -> list[nn.Module]:
    """The modules that the graph calls, in order."""
    graph: Any = root
    return [graph.get_submodule(node.target) for node in graph.graph.nodes if node.op == "call_module"]


class Written(nn.Module):
    """A model that is one function of its parameters and buffers."""

    def __init__(self, function: Callable[..., Any], **tensors: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        for name, tensor in tensors.items():
            if name.startswith("buffer"):
                self.register_buffer(name, tensor)
            else:
                self.register_parameter(name, nn.Parameter(tensor))

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)
