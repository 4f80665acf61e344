"""Why a match of a built-in pattern can't be int8 on any engine: a sentence, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from torch import fx, nn

from fxq_core.capture.graphs import arguments_of
from fxq_core.capture.values import value_of
from fxq_core.signatures import arguments, clamp_bounds
from fxq_core.types import Match

NO_BATCH = "its input has no batch dimension; add one with unsqueeze(0)"
RUN_TIME_WEIGHT = "its weight is computed at run time"
NEAREST = ("nearest", "nearest-exact")


def reject_conv(match: Match) -> str | None:
    if match.modules[0] is None or len(match.inputs) != 1:
        return RUN_TIME_WEIGHT
    if len(match.nodes[0].args) + len(match.nodes[0].kwargs) > 1:
        return "its output size is given with each call"
    if value_of(match.inputs[0]).rank != cast("nn.Conv2d", match.modules[0]).weight.dim():
        return NO_BATCH
    return None


def reject_linear(match: Match) -> str | None:
    if match.modules[0] is None or len(match.inputs) != 1:
        return RUN_TIME_WEIGHT
    return NO_BATCH if value_of(match.inputs[0]).rank < 2 else None


def reject_binary(match: Match) -> str | None:
    found = arguments(match.nodes[0], None)
    operands = found["input"], found["other"]
    # by identity: nodes have no truth value, and a clamp that follows takes no further input
    if len(match.inputs) != 2 or any(a is not b for a, b in zip(operands, match.inputs, strict=True)):
        return "one of its operands is not a float tensor"
    if found.get("alpha", 1) != 1 or found["out"] is not None:
        return "its alpha or out argument has no int8 form"
    return None


def reject_batch_norm(match: Match) -> str | None:
    norm = cast("nn.BatchNorm2d", match.modules[0])
    return "its statistics are computed from each batch" if norm.running_mean is None else None


def reject_norm(match: Match) -> str | None:
    """For norms that capture has made modules of wherever their weight is constant."""
    if match.modules[0] is None:
        return RUN_TIME_WEIGHT
    if getattr(match.modules[0], "track_running_stats", False):
        return "it normalizes with running statistics"
    return None


def reject_clamp(match: Match) -> str | None:
    low, high = clamp_bounds(match.nodes[-1], match.modules[-1])
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        return "its bounds are computed at run time"
    if not low <= 0 <= high:
        return f"the range {low} to {high} of its clamp does not hold 0, which int8 always represents"
    return None


def reject_adaptive_avg_pool(match: Match) -> str | None:
    dims = int(match.pattern.name[-2])
    return None if value_of(match.inputs[0]).rank > dims else "its input is not an image of channels"


def reject_avg_pool(match: Match) -> str | None:
    divisor = arguments(match.nodes[0], match.modules[0]).get("divisor_override")
    return None if divisor is None else "its divisor may take the result out of the range of its input"


def reject_dtype(match: Match) -> str | None:
    found = arguments(match.nodes[0], match.modules[0])
    return None if found.get("dtype") is None else "it converts to another dtype"


def reject_computed(match: Match) -> str | None:
    """For ops whose other arguments become constants of the int8 op."""
    others = [a for a in arguments_of(match.nodes[0]) if a not in match.inputs]
    return "one of its arguments is computed at run time" if others else None


def reject_many(match: Match) -> str | None:
    tensors = arguments(match.nodes[0], None)["tensors"]
    if not isinstance(tensors, (list, tuple)) or len(tensors) != len(match.inputs):
        return "not all of its operands are float tensors"
    return reject_computed(match)


def reject_getitem(match: Match) -> str | None:
    index = arguments(match.nodes[0], None)["index"]
    parts = index if isinstance(index, tuple) else (index,)
    if value_of(match.inputs[0]).kind == "tensors":
        return None if isinstance(index, int) else "it takes several of a tuple of tensors"
    if any(isinstance(part, fx.Node) and value_of(part).kind != "int" for part in parts):
        return "it picks single values by an index that is computed at run time"
    plain = (int, slice, fx.Node, type(None), type(...))
    return None if all(isinstance(part, plain) for part in parts) else "its index is neither numbers nor slices"


def reject_pad(match: Match) -> str | None:
    if match.modules[0] is not None:
        value, mode = getattr(match.modules[0], "value", 0), "constant"
    else:
        found = arguments(match.nodes[0], None)
        value, mode = found["value"], found["mode"]
    if mode != "constant":
        return "it pads with copies"
    return None if value is None or value == 0 else f"it pads with {value}, which may lie out of its input's range"


def reject_pad_copies(match: Match) -> str | None:
    if match.modules[0] is None and arguments(match.nodes[0], None)["mode"] == "constant":
        return "it pads with a constant"
    return reject_computed(match)


def reject_nearest(match: Match) -> str | None:
    mode = arguments(match.nodes[0], match.modules[0])["mode"]
    return None if mode in NEAREST else f"its mode is {mode!r}"


def reject_interpolate(match: Match) -> str | None:
    return None if reject_nearest(match) else "it only copies values"


def reject_dropout(match: Match) -> str | None:
    node = match.nodes[0]
    if node.op != "call_function" or "dropout" not in getattr(node.target, "__name__", ""):
        return None
    training = arguments(node, None)["training"]
    return None if training is False else "it drops values even in eval mode"


def reject_embedding(match: Match) -> str | None:
    layer = cast("nn.Embedding", match.modules[0])
    return None if layer.max_norm is None else "it renormalizes its weight whenever it is used"


def reject_embedding_bag(match: Match) -> str | None:
    layer = cast("nn.EmbeddingBag", match.modules[0])
    if layer.padding_idx is not None:
        return "it leaves one index out of its bags"
    return reject_embedding(match)


REJECTIONS: Mapping[str, Callable[[Match], str | None]] = MappingProxyType(
    {
        **{f"conv{kind}{dims}d": reject_conv for kind in ("", "_transpose") for dims in (1, 2, 3)},
        **{f"batch_norm{dims}d": reject_batch_norm for dims in (1, 2, 3)},
        "linear": reject_linear,
        **dict.fromkeys(("add", "sub", "mul", "matmul"), reject_binary),
        **dict.fromkeys(("layer_norm", "group_norm", "instance_norm"), reject_norm),
        **dict.fromkeys(("avg_pool2d", "avg_pool3d"), reject_avg_pool),
        **{f"adaptive_avg_pool{dims}d": reject_adaptive_avg_pool for dims in (1, 2, 3)},
        **dict.fromkeys(("mean", "softmax"), reject_dtype),
        **dict.fromkeys(("cat", "stack"), reject_many),
        **dict.fromkeys(("hardswish", "leaky_relu", "elu"), reject_computed),
        "clamp": reject_clamp,
        "getitem": reject_getitem,
        "pad": reject_pad,
        "pad_copies": reject_pad_copies,
        "interpolate_nearest": reject_nearest,
        "interpolate": reject_interpolate,
        "identity": reject_dropout,
        "embedding": reject_embedding,
        "embedding_bag": reject_embedding_bag,
    }
)
