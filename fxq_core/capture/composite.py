"""torch.nn's composite layers, taken apart on the copy of a model: attention and the transformers around it."""

from __future__ import annotations

from typing import Any

from torch import nn

from fxq_core.capture.attention import decompose_attention
from fxq_core.capture.transformer import Decoder, DecoderLayer, Encoder, EncoderLayer, Transformer

TRACEABLE: dict[type[nn.Module], Any] = {
    nn.TransformerEncoderLayer: EncoderLayer,
    nn.TransformerDecoderLayer: DecoderLayer,
    nn.TransformerEncoder: Encoder,
    nn.TransformerDecoder: Decoder,
    nn.Transformer: Transformer,
}


def composites(root: nn.Module) -> list[nn.Module]:
    """The modules that ``decompose`` changes: torch's own, with torch's forward."""
    kinds = (nn.MultiheadAttention, *TRACEABLE)
    return [module for module in root.modules() if type(module) in kinds and "forward" not in vars(module)]


def decompose(root: nn.Module) -> None:
    """Give each composite layer, in place, a forward that traces to plain layers; paths, hooks and attributes stay."""
    for module in composites(root):
        if isinstance(module, nn.MultiheadAttention):
            decompose_attention(module)
        else:
            module.__class__ = TRACEABLE[type(module)]
