"""One op of a lowered model, as it was watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fxq_core.types import Match, QParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an op took, and what came out.

    Attributes:
        engine: the engine's name.
        match: where the op stands in the float graph.
        values: what the nodes that it uses hold: codes, tuples of codes, or sizes and the like.
        output: the qparams of the result.
        layer: the lowered module with the int8 weight, if there is one.
        found: the codes of the result, int64; those of a tuple in one row.
    """

    engine: str
    match: Match
    values: Mapping[fx.Node, Any]
    output: QParams
    layer: Any
    found: torch.Tensor

    @property
    def name(self) -> str:
        """The op's: its pattern's, but for a clamp at the end."""
        return self.match.pattern.name.removesuffix("_clamp")

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What the match takes from outside, in argument order."""
        return tuple(self.values[node] for node in self.match.inputs)

    @property
    def clamps(self) -> bool:
        """Whether a clamp ends it."""
        return self.match.pattern.name.endswith("_clamp")

    @property
    def activation(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """The activation that is computed in one kernel with a layer, in float."""
        if self.clamps or len(self.match.nodes) == 1:
            return None
        node, module = self.match.output, self.match.modules[-1]
        if module is not None:
            return module
        return lambda x: node.target(x, *node.args[1:], **node.kwargs)  # type: ignore[operator]

    @property
    def kernel(self) -> str:
        """Whose kernel a layer is packed for."""
        name: str = self.layer._kernel()[0]
        return name
