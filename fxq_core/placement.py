"""Where int8 pays: the matches that are kept, chosen so that the fewest numbers are converted at run time.

A layer whose weight is a matrix or a filter bank is always kept: its multiplications are what int8 saves. Every other
match may run in either form, at about the same cost, but each value that one form makes and the other takes has to be
converted. So the best choice is a minimum cut between int8 and float (Greig, Porteous and Seheult 1989): a value that
is made in one form and taken in the other costs one conversion, however many take it. Of equally good choices
the one with the most int8 is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import fx, nn

from fxq_core.capture.values import value_of
from fxq_core.matching import Candidate
from fxq_core.mincut import INFINITE, Network
from fxq_core.signatures import asks_for_shape

INT8, FLOAT = "int8", "float"
# a call costs about as much as the conversion of this many numbers
CALL = 2**15


def worthwhile(chosen: dict[fx.Node, Candidate]) -> dict[fx.Node, Candidate]:
    """The matches, given in graph order by their output nodes, that are worth their conversions."""
    network = Network()
    owner = {node: output for output, candidate in chosen.items() for node in candidate.match.nodes}
    for output, candidate in chosen.items():
        if candidate.match.pattern.weight_only:
            continue
        if _multiplies(candidate):
            network.add(INT8, output, INFINITE)
        if candidate.lowering.in_float:
            network.add(output, FLOAT, sum(map(_cost, (*dict.fromkeys(candidate.match.inputs), output))))
    for value in _values(chosen):
        producer = _side(value, chosen)
        takers = {_taker(user, value, owner, chosen) for user in value.users if not asks_for_shape(user)}
        if value_of(value).kind == "tensors":
            for taker in takers:  # a tuple is never converted
                network.add(producer, taker, INFINITE)
                network.add(taker, producer, INFINITE)
        elif value.op != "get_attr":  # a constant is kept in the form that is used
            _connect(network, value, producer, takers)
    float_side = network.cut(INT8, FLOAT)
    return {output: c for output, c in chosen.items() if c.match.pattern.weight_only or output not in float_side}


def _values(chosen: dict[fx.Node, Candidate]) -> Iterator[fx.Node]:
    """Every value that a match takes or gives, once."""
    both = ((*c.match.inputs, output) for output, c in chosen.items() if not c.match.pattern.weight_only)
    yield from dict.fromkeys(value for values in both for value in values)


def _connect(network: Network, value: fx.Node, producer: object, takers: set[object]) -> None:
    """Let a cut between the one who makes a value and any who take it cost one conversion, in either direction."""
    cost = _cost(value)
    network.add(producer, ("dequantized", value), cost)
    network.add(("quantized", value), producer, cost)
    for taker in takers:
        network.add(("dequantized", value), taker, INFINITE)
        network.add(taker, ("quantized", value), INFINITE)


def _side(value: fx.Node, chosen: dict[fx.Node, Candidate]) -> object:
    """What stands for the maker of a value in the network: a match, or the side of float."""
    return value if value in chosen and not chosen[value].match.pattern.weight_only else FLOAT


def _taker(user: fx.Node, value: fx.Node, owner: dict[fx.Node, fx.Node], chosen: dict[fx.Node, Candidate]) -> object:
    output = owner.get(user)
    return FLOAT if output is None or value not in chosen[output].match.inputs else _side(output, chosen)


def _cost(value: fx.Node) -> int:
    return math.prod(value_of(value).shape) + CALL


def _multiplies(candidate: Candidate) -> bool:
    # a norm over several dimensions has a weight of as many, but multiplies element by element
    layers = (m for m in candidate.match.modules if m is not None and type(m) is not nn.LayerNorm)
    tensors = (tensor for layer in layers for tensor in layer.state_dict().values())
    return any(tensor.dim() > 1 for tensor in tensors)
