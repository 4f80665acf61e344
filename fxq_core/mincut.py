"""The minimum cut of a small directed graph, by Dinic's algorithm (Dinic 1970)."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

# more than any sum of finite capacities
INFINITE = 2**62


@dataclass(slots=True)
class Network:
    """Capacities of directed edges between any hashable nodes; parallel edges add up.

    ``capacity`` holds what is left of each edge while a flow is searched, and a reverse edge for each.
    """

    capacity: dict[Hashable, dict[Hashable, int]] = field(default_factory=dict)

    def add(self, start: Hashable, end: Hashable, capacity: int) -> None:
        forward = self.capacity.setdefault(start, {})
        forward[end] = min(forward.get(end, 0) + capacity, INFINITE)
        self.capacity.setdefault(end, {}).setdefault(start, 0)

    def cut(self, source: Hashable, sink: Hashable) -> set[Hashable]:
        """The nodes on the sink's side of the minimum cut that leaves the fewest there; uses up the capacities."""
        self.capacity.setdefault(source, {})
        self.capacity.setdefault(sink, {})
        while sink in (levels := self._levels(source)):
            self._saturate(source, sink, levels)
        reaching, pending = {sink}, deque([sink])
        while pending:
            node = pending.popleft()
            for other in self.capacity[node]:
                if other not in reaching and self.capacity[other][node] > 0:
                    reaching.add(other)
                    pending.append(other)
        return reaching

    def _levels(self, source: Hashable) -> dict[Hashable, int]:
        """How many open edges each node is away from the source."""
        levels, pending = {source: 0}, deque([source])
        while pending:
            node = pending.popleft()
            for other, left in self.capacity[node].items():
                if left > 0 and other not in levels:
                    levels[other] = levels[node] + 1
                    pending.append(other)
        return levels

    def _saturate(self, source: Hashable, sink: Hashable, levels: dict[Hashable, int]) -> None:
        """Push flow along shortest paths until none is open; an edge that is found closed is not looked at again."""
        ends = {node: list(edges) for node, edges in self.capacity.items()}
        tried = dict.fromkeys(ends, 0)
        path = [source]
        while path:
            node = path[-1]
            if node == sink:
                self._push(path)
                path = [source]
            elif tried[node] == len(ends[node]):
                path.pop()
                if path:
                    tried[path[-1]] += 1
            else:
                end = ends[node][tried[node]]
                if self.capacity[node][end] > 0 and levels.get(end) == levels[node] + 1:
                    path.append(end)
                else:
                    tried[node] += 1

    def _push(self, path: list[Hashable]) -> None:
        edges = list(itertools.pairwise(path))
        flow = min(self.capacity[start][end] for start, end in edges)
        for start, end in edges:
            self.capacity[start][end] -= flow
            self.capacity[end][start] += flow
