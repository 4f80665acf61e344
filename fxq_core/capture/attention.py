"""``nn.MultiheadAttention`` as its projections and the attention between them, so that each is an op of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fxq_core.capture.masks import masked_softmax, merged_mask

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
PACKED = ("in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight")


class Attention(nn.MultiheadAttention):
    """Computes what ``nn.MultiheadAttention`` does, for any rank, in ops that can be traced.

    ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj`` are linear layers. The packed parameters are None, which also
    keeps torch's fused inference path, which would read them, out of the way.
    """

    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint about attn_mask, which is None")
        q, k, v = (self._split(project(x)) for project, x in self._projected(query, key, value))
        # torch, too, lets the hint stand for the mask where it can
        hinted = is_causal and key_padding_mask is None and not need_weights
        masked = not hinted and not (attn_mask is None and key_padding_mask is None)
        mask = merged_mask(attn_mask, key_padding_mask, q) if masked else None
        if not need_weights:
            return self.out_proj(self._join(F.scaled_dot_product_attention(q, k, v, mask, is_causal=hinted))), None
        scores = torch.matmul(q * math.sqrt(1.0 / self.head_dim), k.transpose(-2, -1))
        weights = torch.softmax(scores, dim=-1) if mask is None else masked_softmax(scores, mask)
        attended = self.out_proj(self._join(torch.matmul(weights, v)))
        return attended, weights.mean(dim=-3) if average_attn_weights else weights

    def _projected(self, *inputs: torch.Tensor) -> Any:
        return zip((self.q_proj, self.k_proj, self.v_proj), inputs, strict=True)

    def _split(self, x: Any) -> Any:
        """(batch, heads, length, head size), without batch where the input has none."""
        heads = x.unflatten(-1, (self.num_heads, self.head_dim))
        return heads.transpose(-3, -2) if self.batch_first else heads.movedim(0, -2)

    def _join(self, x: torch.Tensor) -> torch.Tensor:
        return (x.transpose(-3, -2) if self.batch_first else x.movedim(-2, 0)).flatten(-2)


def decompose_attention(module: nn.MultiheadAttention) -> bool:
    """Turn one module into an ``Attention``, in place; False if it does what that can't."""
    if module.bias_k is not None or module.bias_v is not None or module.add_zero_attn:
        return False
    packed = module.in_proj_weight
    weights = [getattr(module, f"{name}_weight") for name in PROJECTIONS] if packed is None else packed.chunk(3)
    biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    projections = [_linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)]
    for name in PACKED:
        module.register_parameter(name, None)
    module.__class__ = Attention
    for name, projection in zip(PROJECTIONS, projections, strict=True):
        module.add_module(name, projection)
    # torch's own subclass of Linear differs in name only
    if type(module.out_proj) is nn.modules.linear.NonDynamicallyQuantizableLinear:
        module.out_proj.__class__ = nn.Linear  # type: ignore[assignment]  # __class__ is read-only to mypy
    return True


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta").eval()
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear


# what these do depends on dtypes and ranks, which are known only when they run
fx.wrap("merged_mask")
fx.wrap("masked_softmax")
