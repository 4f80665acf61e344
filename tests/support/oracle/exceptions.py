"""Which ops of which engines may differ from the oracle where a result lies halfway between two codes, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from fxq_core.reference import REFERENCE

from support.oracle.samples import FUSED, SAMPLES

X86 = ("x86", "fbgemm", "onednn")
QNNPACK = "qnnpack"
NATIVE = (*X86, QNNPACK)
ENGINES = (*NATIVE, REFERENCE.name)

FLOAT32 = "float32 can't hold the exact result"
TAIL = "torch adds the zero point after rounding, but before it in the last elements, which fill no vector"
CHANNELS = "torch adds the zero point before rounding, but after it in channels that fill a vector"
AT_ONCE = "torch multiplies by the inverse of the count and adds the zero point at once in channels that fill a vector"
NO_KERNEL = "for some windows QNNPACK has no kernel; float32 can't hold what stands in for it"


def _on(engines: Iterable[str], reason: str, *names: str) -> dict[tuple[str, str], str]:
    return {(op, engine): reason for op in names for engine in engines}


def ops() -> list[str]:
    """The ops that samples are named for, in their order."""
    return list(dict.fromkeys(sample.pattern.removesuffix("_clamp") for sample in SAMPLES.values()))


EXCEPTIONS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        **_on(NATIVE, FLOAT32, "interpolate", "matmul", "mean", "prelu", "softmax", "layer_norm"),
        **_on(NATIVE, TAIL, "add", "sub"),
        **_on(NATIVE, TAIL, "leaky_relu"),
        **_on(X86, TAIL, "hardswish"),
        **_on(X86, CHANNELS, "avg_pool2d"),
        **_on(X86, AT_ONCE, "adaptive_avg_pool2d"),
        **_on([QNNPACK], NO_KERNEL, "avg_pool2d"),
        **_on(("x86", "onednn"), FLOAT32, "conv2d_hardswish", "linear_hardswish", "linear_gelu"),
        **_on(
            [REFERENCE.name],
            FLOAT32,
            *(f"conv{kind}{dims}d" for kind in ("", "_transpose") for dims in (1, 2, 3)),
            *("linear", "add", "sub", "mul", "cat", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool2d"),
            *("mean", "interpolate", "matmul", "softmax", "prelu"),
        ),
    }
)
# ops that an engine does not have, and what becomes of them
ABSENT: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        **_on([QNNPACK], "float", "conv_transpose3d"),
        **_on(NATIVE, "no op", "identity"),
        **_on(("fbgemm", QNNPACK, REFERENCE.name), "two ops", *(sample.pattern for sample in FUSED.values())),
    }
)
