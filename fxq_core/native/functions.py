"""Kernels with their sharp edges covered, for generated code to call; quantized tensors in and out."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

from fxq_core.native.codes import codes_of, from_codes

PAD_MODES = ("reflect", "replicate", "circular")
# without the wrapper, which takes its time in each call
OPS = torch.ops.quantized
CAT, MUL, HARDSWISH = (op.default._op for op in (OPS.cat, OPS.mul, OPS.hardswish))
# the pixels from which on it pays to repeat a gate for each of them
SPREAD = 100
# large images of few channels that don't fill registers of 32 bytes are pooled in their rows, if windows are large too
VECTOR, FEW, LARGE, WINDOW = 32, 64, 2**17, 9


def clamp(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Limit the values of ``x``; a limit may be infinite.

    On the codes themselves: QNNPACK's kernel mixes up the elements of a channels_last tensor.
    """
    scale, zero_point = x.q_scale(), x.q_zero_point()
    # 256 steps from the zero point lie beyond all codes, so an infinite limit becomes none
    lowest, highest = (round(min(max(limit / scale, -256.0), 256.0)) + zero_point for limit in (low, high))
    codes = codes_of(x).clamp(min(max(lowest, 0), 255), min(max(highest, 0), 255))
    return from_codes(codes, scale, zero_point)


def negated(x: torch.Tensor) -> torch.Tensor:
    """``-x``, exactly: code ``255 - c`` with zero point ``255 - z`` stands for the negative of code ``c``."""
    return from_codes(codes_of(x).bitwise_not(), x.q_scale(), 255 - x.q_zero_point())


def pad_copies(x: torch.Tensor, pad: tuple[int, ...], mode: str) -> torch.Tensor:
    """Pad as ``F.pad(x, pad, mode)`` does with ``"reflect"``, ``"replicate"`` or ``"circular"``, for any rank."""
    for dim, (before, after) in enumerate(zip(pad[0::2], pad[1::2], strict=True), start=1):
        size = x.shape[-dim]
        index = torch.arange(-before, size + after)
        if mode == "replicate":
            index = index.clamp(0, size - 1)
        elif mode == "circular":
            index = index % size
        else:
            index = (size - 1) - ((size - 1) - index.abs()).abs()
        x = x.index_select(-dim, index)
    return x


def pixel_unshuffle(x: torch.Tensor, factor: int) -> torch.Tensor:
    """As ``F.pixel_unshuffle``, which gives an empty quantized tensor a wrong shape."""
    if x.numel():
        return F.pixel_unshuffle(x, factor)
    return from_codes(F.pixel_unshuffle(codes_of(x), factor), x.q_scale(), x.q_zero_point())


def cat(tensors: list[torch.Tensor], dim: int, scale: float, zero_point: int) -> torch.Tensor:
    """``torch.cat``; the kernel goes through float unless all images are channels_last, which a part of one is not."""
    if tensors[0].dim() == 4:
        tensors = [x.contiguous(memory_format=torch.channels_last) for x in tensors]
    result: torch.Tensor = CAT(tensors, dim, scale, zero_point)
    return result


def gated(image: torch.Tensor, gate: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """``image * gate``, of shape ``(N, C, H, W)``, for a gate that has fewer numbers; a channels_last image.

    The kernel is slow where one operand is broadcast, and lays the product out as the first operand is.
    """
    image = image.contiguous(memory_format=torch.channels_last)
    if gate.shape[0] == image.shape[0] and image.shape[2] * image.shape[3] >= SPREAD:
        gate = gate.expand_as(image).contiguous(memory_format=torch.channels_last)
    result: torch.Tensor = MUL(image, gate, scale, zero_point)
    return result


def max_pool2d(
    x: torch.Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> torch.Tensor:
    """As ``F.max_pool2d``, whose kernel takes channels beyond a multiple of ``VECTOR`` one by one.

    On codes, first over rows, then over columns, with the image's rows as vectors. Code 0 never is the largest, so it
    can pad.
    """
    channels = x.shape[1]
    if channels % VECTOR == 0 or channels > FEW or x.numel() < LARGE or kernel[0] * kernel[1] < WINDOW:
        return F.max_pool2d(x, kernel, stride, padding)
    last = [size + 2 * pad - side for size, pad, side in zip(x.shape[2:], padding, kernel, strict=True)]
    spans = [end // step * step + 1 for end, step in zip(last, stride, strict=True)]
    codes = codes_of(x.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)
    codes = F.pad(codes, (0, 0, padding[1], padding[1], padding[0], padding[0])).flatten(2)
    rows = [codes[:, row : row + spans[0] : stride[0]] for row in range(kernel[0])]
    codes = functools.reduce(torch.maximum, rows)
    columns = [codes[:, :, channels * i : channels * (i + spans[1])] for i in range(kernel[1])]
    codes = functools.reduce(torch.maximum, columns).reshape(len(x), -1, spans[1], channels)
    return from_codes(codes[:, :, :: stride[1]].contiguous().permute(0, 3, 1, 2), x.q_scale(), x.q_zero_point())


def hardswish(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """``x * clamp(x + 3, 0, 6) / 6``; an empty tensor never reaches QNNPACK, which would divide by zero."""
    if x.numel() == 0:
        return _empty(x, scale, zero_point)
    result: torch.Tensor = HARDSWISH(x, scale, zero_point)
    return result


def silu(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """``x * sigmoid(x)``, computed in float in the memory of one temporary."""
    return torch.quantize_per_tensor(F.silu(x.dequantize(), inplace=True), scale, zero_point, torch.quint8)


def hardsigmoid(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """``clamp(x + 3, 0, 6) / 6`` with the kernel's own qparams; an empty tensor never reaches QNNPACK."""
    return F.hardsigmoid(x) if x.numel() else _empty(x, scale, zero_point)


def _empty(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return from_codes(codes_of(x), scale, zero_point)
