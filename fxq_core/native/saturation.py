"""Kernels and weights that can't saturate int16 sums.

Without VNNI, x86 kernels multiply unsigned activations with signed weights and add pairs of products in int16
(``vpmaddubsw``), which saturates (pytorch#44939). FBGEMM's depthwise kernels do so on every CPU; oneDNN's do not.
With activations up to 255 no pair saturates if the two largest weights of a channel add up to at most 128 and the
two smallest to at least -128, since 255 * 128 < 2**15. A depthwise layer that breaks this rule is packed for oneDNN,
whose kernel binds when the weight is packed; where oneDNN can't help, a channel that breaks it is narrowed to 7 bits.
"""

from __future__ import annotations

import torch

from fxq_core.engines import advertised

LIMIT = 128
FBGEMM = "fbgemm"
ONEDNN = "onednn"
X86 = frozenset({FBGEMM, "x86", ONEDNN})


def safe_kernel(engine: str, weight: torch.Tensor, groups: int = 1, inputs: int = 0) -> tuple[str, bool]:
    """Which engine's kernel to pack a weight for so that its numbers are right, and whether to narrow it first.

    Decided for the CPU that this process runs on, so that a state dict made on another one is safe here.

    Args:
        engine: the engine that the model was lowered for.
        weight: int8 codes, output channels first.
        groups: of a convolution.
        inputs: how many input channels each group of a convolution has.
    """
    if engine not in X86:
        return engine, False
    outputs = len(weight) // groups
    if inputs == 1 and outputs > 1 and FBGEMM in advertised():
        # oneDNN, of torch 2.13 at least, is wrong for some geometries of such groups
        engine = FBGEMM
    if not may_saturate(weight).any():
        return engine, False
    if not torch.cpu._is_vnni_supported():
        return engine, True
    if engine == ONEDNN or inputs != 1 or groups == 1:
        return engine, False
    if outputs == 1:
        return (ONEDNN, False) if ONEDNN in advertised() else (engine, True)
    # FBGEMM's depthwise kernels take multiples of 8 groups
    return engine, groups % 8 == 0


def why_safe(engine: str, weight: torch.Tensor, kernel: str, narrow: bool) -> str:
    """Why no int16 sum saturates, given what ``safe_kernel`` chose."""
    if kernel not in X86:
        return "its kernel has no int16 sums"
    risky = may_saturate(weight)
    if not risky.any():
        return "no pair of its weights can saturate"
    if narrow:
        return "weights that could saturate are narrowed to 7 bits"
    if kernel != engine and kernel == ONEDNN:
        return "packed for oneDNN, whose kernel adds in int32"
    return "this CPU adds in int32 (VNNI)"


def transposed_kernel(engine: str) -> str:
    """Whose kernel to use for a transposed convolution: oneDNN's, of torch 2.13 at least, gives wrong numbers."""
    return FBGEMM if engine in X86 and FBGEMM in advertised() else engine


def may_saturate(weight: torch.Tensor) -> torch.Tensor:
    """Which output channels hold two weights whose products can saturate.

    Args:
        weight: int8 codes, output channels first.

    Returns:
        bool of shape ``(channels,)``.
    """
    rows = weight.flatten(1).to(torch.int16)
    count = min(2, rows.shape[1])
    largest = rows.topk(count, dim=1).values.sum(1)
    smallest = rows.topk(count, dim=1, largest=False).values.sum(1)
    return (largest > LIMIT) | (smallest < -LIMIT)


def saturation_free(weight: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same weight with one bit less in the channels that may saturate, and twice the scale.

    Args:
        weight: int8 codes, output channels first.
        scale: float32, one for each channel or one in all; with one in all, any such channel narrows all.
    """
    narrow = may_saturate(weight)
    if scale.dim() == 0:
        narrow = narrow.any().expand_as(narrow)
    wide = narrow.reshape(-1, *[1] * (weight.dim() - 1))
    halved = torch.round(weight.float() / 2).to(weight.dtype)
    return torch.where(wide, halved, weight), torch.where(narrow if scale.dim() else narrow.any(), scale * 2, scale)
