"""Graphs over the numbers from 0: who belongs together, what comes before what. Pure.

Nothing recurses, so a chain of a hundred thousand is no deeper than one of three. All is linear but the
heap of `ordered`.
"""

from __future__ import annotations

import heapq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Edges = Sequence[Sequence[int]]


class Sets:
    """Union-find; the lowest number of a set stands for it."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def find(self, one: int) -> int:
        parent = self.parent
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    def union(self, one: int, other: int) -> None:
        one, other = self.find(one), self.find(other)
        if one != other:
            # The lower number and not the larger set: with the halving above it is still n log n at worst.
            self.parent[max(one, other)] = min(one, other)


def strong(edges: Edges) -> list[int]:
    """For each node the lowest node of its strongly connected part (Tarjan)."""
    index, low, part = [-1] * len(edges), [0] * len(edges), [-1] * len(edges)
    stack: list[int] = []
    count = 0
    for start in range(len(edges)):
        work = [(start, 0)] if index[start] < 0 else []
        while work:
            node, at = work.pop()
            if at == 0:
                index[node] = low[node] = count
                count += 1
                stack.append(node)
            for following in range(at, len(edges[node])):
                other = edges[node][following]
                if index[other] < 0:
                    work += [(node, following + 1), (other, 0)]
                    break
                if part[other] < 0:
                    low[node] = min(low[node], index[other])
            else:
                if low[node] == index[node]:
                    _close(stack, node, part)
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
    return part


def _close(stack: list[int], root: int, part: list[int]) -> None:
    """Takes the part of `root`, all that was put on the stack since it, from the stack."""
    members = [stack.pop()]
    while members[-1] != root:
        members.append(stack.pop())
    least = min(members)
    for member in members:
        part[member] = least


def ordered(edges: Edges, rank: Sequence[Any]) -> list[int]:
    """Every node after those with an edge to it; of several that could come, the one of lowest rank (Kahn).
    What is on a cycle, or behind one, is left out.
    """
    open_ = [0] * len(edges)
    for targets in edges:
        for target in targets:
            open_[target] += 1
    heap = [(rank[node], node) for node in range(len(edges)) if not open_[node]]
    heapq.heapify(heap)
    found = []
    while heap:
        _, node = heapq.heappop(heap)
        found.append(node)
        for target in edges[node]:
            open_[target] -= 1
            if not open_[target]:
                heapq.heappush(heap, (rank[target], target))
    return found


def cycles(edges: Edges) -> list[list[int]]:
    """One shortest cycle of each strongly connected part that has one, through the part's lowest node."""
    part = strong(edges)
    sizes: dict[int, int] = {}
    for least in part:
        sizes[least] = sizes.get(least, 0) + 1
    starts = [node for node in sorted(sizes) if sizes[node] > 1 or node in edges[node]]
    return [_through(edges, part, start) for start in starts]


def _through(edges: Edges, part: Sequence[int], start: int) -> list[int]:
    came: dict[int, int] = {}
    queue = [start]
    for node in queue:  # it grows while it is walked
        for other in edges[node]:
            if other == start:
                path = [node]
                while path[-1] != start:
                    path.append(came[path[-1]])
                return path[::-1]
            if part[other] == part[start] and other not in came:
                came[other] = node
                queue.append(other)
    return []
