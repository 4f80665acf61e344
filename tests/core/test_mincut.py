"""The minimum cut, against every cut of small graphs."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import example, given, settings, strategies as st

from fxq_core.mincut import INFINITE, Network

SOURCE, SINK, INNER = "source", "sink", ("a", "b", "c", "d")
Edges = list[tuple[str, str, int]]

nodes = st.sampled_from((SOURCE, SINK, *INNER))
edges = st.lists(st.tuples(nodes, nodes, st.integers(0, 4) | st.just(INFINITE)), max_size=14)


def cost(edges: Edges, sink_side: set[str]) -> int:
    """What a cut costs: the edges into the sink's side."""
    return sum(capacity for start, end, capacity in edges if start not in sink_side and end in sink_side)


def all_cuts(edges: Edges) -> list[set[str]]:
    choices = itertools.chain.from_iterable(itertools.combinations(INNER, n) for n in range(len(INNER) + 1))
    return [{SINK, *chosen} for chosen in choices]


def cut(edges: Edges) -> set[str]:
    network = Network()
    for edge in edges:
        network.add(*edge)
    return {str(node) for node in network.cut(SOURCE, SINK)}


@settings(max_examples=300)
@given(edges)
@example([])
@example([(SOURCE, SINK, 3), (SOURCE, "a", 1), ("a", SINK, 1)])
@example([(SOURCE, "a", 2), (SOURCE, "b", 2), ("a", "b", 1), ("a", SINK, 1), ("b", SINK, 3)])
def test_no_cut_is_cheaper_and_none_as_cheap_leaves_fewer_on_the_sinks_side(edges: Edges) -> None:
    found = cut(edges)
    costs = [(cost(edges, side), len(side)) for side in all_cuts(edges)]
    if min(costs)[0] < INFINITE:
        assert (cost(edges, found), len(found)) == min(costs)
        # the smallest one is unique: it lies in all the others
        assert all(found <= side for side in all_cuts(edges) if cost(edges, side) == min(costs)[0])


@given(edges)
def test_what_is_bound_by_an_infinite_edge_is_not_parted(edges: Edges) -> None:
    found = cut(edges)
    if cost(edges, found) < INFINITE:
        for start, end, capacity in edges:
            assert capacity < INFINITE or start in found or end not in found


def test_parallel_edges_add_up_and_never_exceed_infinity() -> None:
    network = Network()
    for capacity in (1, 2, INFINITE, INFINITE):
        network.add("a", "b", capacity)
    assert network.capacity == {"a": {"b": INFINITE}, "b": {"a": 0}}
    assert cut([(SOURCE, "a", 1), (SOURCE, "a", 2), ("a", SINK, 2)]) == {SINK}
    assert cut([(SOURCE, "a", 1), (SOURCE, "a", 2), ("a", SINK, 4)]) == {SINK, "a"}


def test_any_hashable_is_a_node_even_one_without_edges() -> None:
    network = Network()
    network.add(("dequantized", 1), None, 5)
    assert network.cut(0, 1) == {1}
    assert network.cut(("dequantized", 1), None) == {None}


def chain(length: int) -> Edges:
    return [(str(i) if i else SOURCE, str(i + 1) if i + 1 < length else SINK, 1 + (i != 7)) for i in range(length)]


def star(leaves: int) -> Edges:
    """Every leaf carries a unit of its own from the source to the sink."""
    return [edge for n in range(leaves) for edge in ((SOURCE, str(n), 1), (str(n), SINK, 2))]


@pytest.mark.parametrize(
    ("edges", "size"), [(chain(20_000), 20_000 - 7), (star(20_000), 20_001)], ids=["chain", "star"]
)
def test_large_graphs_take_linear_time_and_no_recursion(edges: Edges, size: int) -> None:
    start = time.process_time()
    assert len(cut(edges)) == size
    assert time.process_time() - start < 3  # some 0.1 s; a quadratic search takes minutes
