"""Cross-layer equalization: the channels between two layers get weights of like sizes on either side.

A channel between two layers can be divided by any ``s > 0`` where it is made and multiplied by it where it is taken,
if what is between is positively homogeneous: ``f(x / s) = f(x) / s``. With ``s = sqrt(a / b)``, where ``a`` and ``b``
are the largest weights that make and take it, both become ``sqrt(a * b)`` (Nagel et al. 2019, Data-Free Quantization
Through Weight Equalization and Bias Correction, section 4.1). Here ``s`` is rounded to a power of two, by which floats
are multiplied exactly: the network computes what it did, to the last bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from fxq_core import spellings
from fxq_core.capture.graphs import arguments_of, hold, module_path, prefixes
from fxq_core.correction import LAYERS, TRANSPOSED, by_output
from fxq_core.families import SHARED
from fxq_core.signatures import clamp_bounds

if TYPE_CHECKING:
    from fxq_core.matching import Candidate

Pair = tuple[fx.Node, fx.Node]
# what a channel passes unchanged, or in a way that is homogeneous, by the dimensions of its images
POOLS = ("max_pool{}d", "avg_pool{}d", "adaptive_avg_pool{}d")
# a chain settles in a few rounds; a larger power of two says that the channel is dead
ROUNDS, LARGEST = 20, 16


def lone_modules(root: nn.Module) -> set[nn.Module]:
    """The modules that only one path leads to."""
    paths = Counter(module for _, module in root.named_modules(remove_duplicate=False))
    return {module for module, count in paths.items() if count == 1}


def equalizable(part: fx.GraphModule, chosen: Mapping[fx.Node, Candidate], lone: Set[nn.Module]) -> tuple[Pair, ...]:
    """The calls of layers between whose channels nothing is in the way, in graph order.

    Every node from the one to the other is in int8 and has one use; both layers are called once.

    Args:
        lone: the modules that may be changed.
    """
    layers = {
        candidate.match.nodes[0]: candidate.match.modules[0]
        for candidate in chosen.values()
        if type(candidate.match.modules[0]) in LAYERS
    }
    calls = Counter(node.target for node in part.graph.nodes if node.op == "call_module")
    read = {path for node in part.graph.nodes if node.op == "get_attr" for path in prefixes(str(node.target))}
    alone = {
        node: layer
        for node, layer in layers.items()
        if calls[node.target] == 1 and layer in lone and node.target not in read
    }
    inner = {node: m for c in chosen.values() for node, m in zip(c.match.nodes, c.match.modules, strict=True)}
    pairs = []
    for node, layer in alone.items():
        taker = _taker(node, layer, inner)
        if taker in alone and _images(alone[taker]) == _images(layer):
            pairs.append((node, taker))
    return tuple(pairs)


def _taker(node: fx.Node, layer: Any, inner: Mapping[fx.Node, nn.Module | None]) -> Any:
    """The first node after a layer that is not homogeneous, if the value has no other use on the way to it."""
    while True:
        users = list(node.users)
        if len(users) != 1 or arguments_of(users[0]).count(node) != 1:
            return None
        if users[0] not in inner or not _homogeneous(users[0], inner[users[0]], _images(layer)):
            return users[0]
        node = users[0]


def _images(layer: Any) -> int:
    """How many dimensions the images of a convolution have; 0 for a linear layer, whose channels come last."""
    dims: int = layer.weight.dim() - 2
    return dims


def _homogeneous(node: fx.Node, module: nn.Module | None, dims: int) -> bool:
    """Whether a node does the same to each channel by itself, whatever positive number that is multiplied with."""
    spelling: Any = node.target if module is None else type(module)
    if spelling in spellings.CLAMP_LIKE:
        return set(clamp_bounds(node, module)) <= {0.0, float("inf"), float("-inf")}
    pools = (SHARED[name.format(dims)] for name in POOLS if dims)
    return any(spelling in ops for ops in (SHARED["identity"], spellings.LEAKY_RELU, *pools))


def equalized_notes(parts: Mapping[str, Sequence[Pair]]) -> dict[str, str]:
    """A sentence that names the second layer of each pair, by the module path of the first.

    Args:
        parts: the pairs of each part, by its path.
    """
    paths = [[module_path(path, node) for node in pair] for path, pairs in parts.items() for pair in pairs]
    return {first: f"its output channels are equalized with the input channels of {second}" for first, second in paths}


def equalize(part: nn.Module, pairs: Sequence[Pair]) -> None:
    """Equalize the layers that pairs of nodes call, in place: the channels that the first gives the second takes."""
    layers = [tuple(part.get_submodule(str(node.target)) for node in pair) for pair in pairs]
    for _ in range(ROUNDS):
        moved = [_equalize(*pair) for pair in layers]
        if not any(moved):
            return


def _equalize(first: Any, second: Any) -> bool:
    """Equalize one pair; whether anything was left to do."""
    made = by_output(first, first.weight.detach()).flatten(2).abs().amax(2).flatten()
    taken = by_output(second, second.weight.detach()).transpose(1, 2).flatten(2).abs().amax(2).flatten()
    factor = _powers(made, taken)
    if bool((factor == 1).all()):
        return False
    _multiply(first, "weight", _by_channel(first, 1 / factor, isinstance(first, TRANSPOSED)))
    _multiply(second, "weight", _by_channel(second, factor, not isinstance(second, TRANSPOSED)))
    if first.bias is not None:
        _multiply(first, "bias", 1 / factor)
    return True


def _multiply(layer: Any, name: str, factor: torch.Tensor) -> None:
    # another tensor, as others may hold this one
    hold(layer, name, nn.Parameter(getattr(layer, name).detach() * factor, requires_grad=False))


def _by_channel(layer: Any, factor: torch.Tensor, inner: bool) -> torch.Tensor:
    """One factor for each channel, in a shape that the weight can be multiplied with.

    Args:
        inner: whether the channels are along the second dimension of the weight, where only those of a group are.
    """
    rest = [1] * (layer.weight.dim() - 2)
    if not inner:
        return factor.reshape(-1, 1, *rest)
    rows = factor.reshape(getattr(layer, "groups", 1), -1)
    return rows.repeat_interleave(len(layer.weight) // len(rows), 0).reshape(len(layer.weight), -1, *rest)


def _powers(made: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
    """``sqrt(made / taken)``, rounded to a power of two; 1 for a dead channel."""
    (high, above), (low, below) = torch.frexp(made), torch.frexp(taken)
    # half up, so that a power of two in the weights gives just that power here
    powers = torch.floor((torch.log2(high.double() / low.double()) + (above - below) + 1) / 2)
    # neither NaN nor infinite
    alive = powers.abs() <= LARGEST
    return torch.where(alive, powers, 0.0).exp2().float()
