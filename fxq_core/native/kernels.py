"""Which of the kernels in one build of torch serves a layer best; engine "x86" may mix them in one model.

torch's own rule for engine "x86" looks at groups alone: a convolution of more than 100 groups, and every linear layer,
gets FBGEMM's kernel, and all else oneDNN's where the CPU has VNNI. Measured with torch 2.13 on an AVX-512 VNNI server,
one thread, in microseconds, over the layers of ResNet, MobileNetV2 and V3, EfficientNet, ShuffleNetV2, DenseNet,
SqueezeNet, RegNet-Y, MixNet, ConvNeXt and ViT:

=============================================  ======  ======
layer, batch 1                                 FBGEMM  oneDNN
=============================================  ======  ======
smallest call of a convolution                     15      20
1x1, 576 to 144 channels, 1x1 pixel                16      22
1x1, 96 to 576 channels, 7x7                       36      37
1x1, 16 to 72 channels, 56x56                     137      71
3x3, 3 to 32 channels, stride 2, 112x112          390     154
3x3, 64 to 64 channels, 56x56                     775     565
3x3, 440 channels in 55 groups, 7x7                46      36
3x3, 104 channels in 13 groups, 28x28             131      69
3x3, 144 channels depthwise, 56x56                313     208
3x3, 116 channels depthwise, 14x14               1944      30
5x5, 120 channels depthwise, dilation 2, 14x14   4584      48
linear, 1 row, 1024 to 1000                        31      44
linear, 197 rows, 192 to 768                      186     171
linear, 3136 rows, 96 to 384                      860     706
=============================================  ======  ======

FBGEMM costs less to call and more for each number that comes out. With groups it is never much faster, and without a
kernel for the case (a number of channels that is no multiple of 8, a dilation) slower by two orders of magnitude. A
oneDNN kernel keeps what it needs for the shape that it runs on first, from packing on; a call with another shape, such
as another batch size, costs at least 25 us more.

The rule below is 0.5 % slower than the better kernel of each dense layer in the geometric mean and 16 % at most; FBGEMM
for all is 16 % slower, oneDNN for all 7 %. With two threads the two meet in the same place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from fxq_core.engines import advertised
from fxq_core.native.saturation import FBGEMM, ONEDNN

X86, QNNPACK = "x86", "qnnpack"
# in place of a kernel's name: computed by torch's float kernel, between conversions
FLOAT = "float"
# where the two meet for dense layers: so many numbers come out of one call
FEW = 2**14
# QNNPACK has depthwise kernels for windows of 9 and 25 elements. It takes any other as a convolution of many groups,
# and keeps a table of pointers to each element of each window: 840 MB for one image of ConvNeXt-tiny
DEPTHWISE, LARGEST_TABLE = (9, 25), 2**22


def best_kernel(engine: str, outputs: int, shape: Sequence[int], groups: int = 1) -> str:
    """Whose kernel to prefer for a convolution or a linear layer, before it is known to be safe for the weight.

    Args:
        engine: the engine that the model is lowered for; one that is named for its kernels keeps them, where they are
            not beyond all measure.
        outputs: how many numbers come out of one call, for the whole batch of the example.
        shape: that of the weight.
        groups: the groups of a convolution.
    """
    if engine == QNNPACK and _table(outputs, shape, groups) > LARGEST_TABLE:
        return FLOAT
    if engine != X86 or not {FBGEMM, ONEDNN} <= advertised():
        return engine
    if groups > 1:
        return ONEDNN
    # without VNNI oneDNN is not the faster one, as torch has it
    return ONEDNN if outputs > FEW and torch.cpu._is_vnni_supported() else FBGEMM


def _table(outputs: int, shape: Sequence[int], groups: int) -> int:
    """The bytes of the pointers that QNNPACK keeps for a convolution of one input channel in each group."""
    channels, inputs, *window = shape
    taps = math.prod(window)
    if inputs > 1 or groups == 1 or (channels == groups and taps in DEPTHWISE):
        return 0
    return 8 * outputs // channels * groups * taps


def kernels(engine: str) -> tuple[str, ...]:
    """All kernels that a layer lowered for an engine may be packed for."""
    return tuple(name for name in (FBGEMM, ONEDNN) if name in advertised()) if engine == X86 else (engine,)
