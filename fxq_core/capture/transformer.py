"""torch.nn's transformers without their shape checks and fused inference paths, which no trace passes."""

from __future__ import annotations

import torch
from torch import fx, nn

from fxq_core.capture.masks import float_mask, without_padding


class EncoderLayer(nn.TransformerEncoderLayer):
    def forward(
        self,
        src: torch.Tensor,
        src_mask: torch.Tensor | None = None,
        src_key_padding_mask: torch.Tensor | None = None,
        is_causal: bool = False,
    ) -> torch.Tensor:
        if self.norm_first:
            src = src + self._sa_block(self.norm1(src), src_mask, src_key_padding_mask, is_causal)
            return src + self._ff_block(self.norm2(src))
        src = self.norm1(src + self._sa_block(src, src_mask, src_key_padding_mask, is_causal))
        result: torch.Tensor = self.norm2(src + self._ff_block(src))
        return result


class DecoderLayer(nn.TransformerDecoderLayer):
    """torch's own forward can be traced."""


class Encoder(nn.TransformerEncoder):
    def forward(
        self,
        src: torch.Tensor,
        mask: torch.Tensor | None = None,
        src_key_padding_mask: torch.Tensor | None = None,
        is_causal: bool | None = None,
    ) -> torch.Tensor:
        padding = src_key_padding_mask if src_key_padding_mask is None else float_mask(src_key_padding_mask, src)
        added = mask if mask is None else float_mask(mask, src)
        output = src
        for layer in self.layers:
            # torch looks for a causal mask to be faster; the mask itself gives the same
            output = layer(output, src_mask=added, is_causal=is_causal is True, src_key_padding_mask=padding)
        if self.use_nested_tensor and src_key_padding_mask is not None and mask is None:
            output = without_padding(output, src_key_padding_mask, self.mask_check)
        return output if self.norm is None else self.norm(output)


class Decoder(nn.TransformerDecoder):
    def forward(
        self,
        tgt: torch.Tensor,
        memory: torch.Tensor,
        tgt_mask: torch.Tensor | None = None,
        memory_mask: torch.Tensor | None = None,
        tgt_key_padding_mask: torch.Tensor | None = None,
        memory_key_padding_mask: torch.Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> torch.Tensor:
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal is True,
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(nn.Transformer):
    def forward(
        self,
        src: torch.Tensor,
        tgt: torch.Tensor,
        src_mask: torch.Tensor | None = None,
        tgt_mask: torch.Tensor | None = None,
        memory_mask: torch.Tensor | None = None,
        src_key_padding_mask: torch.Tensor | None = None,
        tgt_key_padding_mask: torch.Tensor | None = None,
        memory_key_padding_mask: torch.Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> torch.Tensor:
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        result: torch.Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return result


# what these do depends on dtypes and numbers, which are known only when they run
fx.wrap("float_mask")
fx.wrap("without_padding")
